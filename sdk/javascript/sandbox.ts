// What is not there for a guard, said in words instead of by a trap. It takes nothing away: without it, each of these ends the scan as well.

type Globals = { [name: string]: unknown };

const CLOCK = "there is no clock in a guard; input.time is when the run came to this step";

/** Called before the guard's first own line runs in a sandbox; what its module does at its top is done when it is built. */
export function close(): void {
  const refuse = (why: string) => () => {
    throw new Error(why);
  };
  Math.random = refuse("there is no randomness in a guard: a replay must come to the same verdict");
  Date = closedDate(Date, refuse(CLOCK));
}

function closedDate(real: DateConstructor, refuse: () => never): DateConstructor {
  return new Proxy(real, {
    construct: (target, given) => (given.length === 0 ? refuse() : Reflect.construct(target, given)),
    apply: refuse,
    get: (target, name) => (name === "now" ? refuse : Reflect.get(target, name)),
  });
}

// What is printed goes nowhere, here and while it is built.
const nowhere = (): void => {};
(globalThis as Globals)["console"] ??= { log: nowhere, info: nowhere, warn: nowhere, error: nowhere, debug: nowhere, trace: nowhere };
