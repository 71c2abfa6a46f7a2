// Where printing goes: the build puts these in the place of the functions that AssemblyScript would import.

export function trace(message: string, n: i32 = 0, a0: f64 = 0, a1: f64 = 0, a2: f64 = 0, a3: f64 = 0, a4: f64 = 0): void {}

export namespace console {
  export function log(message: string = ""): void {}
  export function debug(message: string = ""): void {}
  export function info(message: string = ""): void {}
  export function warn(message: string = ""): void {}
  export function error(message: string = ""): void {}
}
