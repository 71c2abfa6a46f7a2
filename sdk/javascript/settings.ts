// Settings said once: the JSON Schema that the host checks them with comes from it, and so do the reader and the TypeScript type.

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = { [keyword: string]: Json };

/** One setting of type `T`. */
export interface Setting<T> {
  readonly schema: Schema;
  /** Whether it may be left out. */
  readonly optional: boolean;
  /** The value as `T`; what does not fit is thrown as a text that names the place. What the schema says beyond types the host has checked. */
  read(value: unknown, path: string): T;
}

/** Settings by name. */
export type Fields = { readonly [name: string]: Setting<unknown> };

/** The type of settings: `Settings<typeof fields>`. */
export type Settings<F extends Fields> = { [K in keyof F]: F[K] extends Setting<infer T> ? T : never };

/** What can be said of every setting. */
export interface Options<T> {
  description?: string;
  /** With a default, it may be left out. */
  default?: T;
}

function setting<T>(schema: Schema, read: (value: unknown, path: string) => T, options: Options<T> & object = {}): Setting<T> {
  const fallback = options.default;
  return {
    schema: { ...schema, ...(options as Schema) },
    optional: fallback !== undefined,
    // Read too, so that a default is never half of what the type says, and so that no scan changes the next one's.
    read: (value, path) => (value === undefined && fallback !== undefined ? read(structured(fallback), path) : read(value, path)),
  };
}

const structured = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function expect(holds: boolean, what: string, value: unknown, path: string): void {
  if (holds) return;
  throw value === undefined ? `${path} is missing` : `${path || "settings"}: expected ${what}, got ${JSON.stringify(value)}`;
}

/** A text. */
export function text(options: Options<string> & { minLength?: number; maxLength?: number; pattern?: string } = {}): Setting<string> {
  return setting({ type: "string" }, plain<string>("string", "a text"), options);
}

type Bounds = { minimum?: number; maximum?: number };

/** A number. */
export function number(options: Options<number> & Bounds = {}): Setting<number> {
  return setting({ type: "number" }, plain<number>("number", "a number"), options);
}

/** A whole number. */
export function integer(options: Options<number> & Bounds = {}): Setting<number> {
  const read = (value: unknown, path: string): number => {
    expect(Number.isInteger(value), "a whole number", value, path);
    return value as number;
  };
  return setting({ type: "integer" }, read, options);
}

/** True or false. */
export function boolean(options: Options<boolean> = {}): Setting<boolean> {
  return setting({ type: "boolean" }, plain<boolean>("boolean", "true or false"), options);
}

function plain<T>(type: "string" | "number" | "boolean", what: string) {
  return (value: unknown, path: string): T => {
    expect(typeof value === type, what, value, path);
    return value as T;
  };
}

/** A regular expression, compiled with these flags. */
export function pattern(options: { description?: string; flags?: string } = {}): Setting<RegExp> {
  const { flags = "giu", ...rest } = options;
  const read = (value: unknown, path: string): RegExp => {
    expect(typeof value === "string", "a regular expression", value, path);
    try {
      return new RegExp(value as string, flags);
    } catch (error) {
      throw `${path}: this is no regular expression: ${(error as Error).message}`;
    }
  };
  return setting({ type: "string", format: "regex" }, read, rest);
}

/** One of these texts. */
export function oneOf<const T extends string>(values: readonly T[], options: Options<NoInfer<T>> = {}): Setting<T> {
  const read = (value: unknown, path: string): T => {
    expect(values.includes(value as T), values.join(" or "), value, path);
    return value as T;
  };
  return setting<T>({ enum: [...values] }, read, options);
}

/** A list. */
export function list<T>(
  item: Setting<T>,
  options: Options<T[]> & { minItems?: number; maxItems?: number; uniqueItems?: boolean } = {},
): Setting<T[]> {
  const read = (value: unknown, path: string): T[] => {
    expect(Array.isArray(value), "a list", value, path);
    return (value as unknown[]).map((it, n) => item.read(it, `${path}[${n}]`));
  };
  return setting({ type: "array", items: item.schema }, read, options);
}

/** Values by names that the guard does not know beforehand. */
export function map<T>(item: Setting<T>, options: Options<Record<string, T>> = {}): Setting<Record<string, T>> {
  const read = (value: unknown, path: string): Record<string, T> => {
    expect(isObject(value), "an object", value, path);
    return Object.fromEntries(Object.entries(value as object).map(([name, it]) => [name, item.read(it, `${path}.${name}`)]));
  };
  return setting({ type: "object", additionalProperties: item.schema }, read, options);
}

/** Settings within settings. */
export function object<F extends Fields>(fields: F, options: { description?: string } = {}): Setting<Settings<F>> {
  const required = Object.keys(fields).filter((name) => !fields[name]!.optional);
  const properties = Object.fromEntries(Object.entries(fields).map(([name, it]) => [name, it.schema]));
  const schema: Schema = { type: "object", additionalProperties: false, ...(required.length > 0 && { required }), properties };
  return setting<Settings<F>>(schema, (value, path) => readFields(fields, value, path), options);
}

function readFields<F extends Fields>(fields: F, value: unknown, path: string): Settings<F> {
  expect(isObject(value), "an object", value, path);
  const given = value as { [name: string]: unknown };
  const prefix = path === "" ? "" : `${path}.`;
  for (const name of Object.keys(given))
    if (!Object.hasOwn(fields, name)) throw `unknown setting \`${prefix}${name}\`; known are: ${Object.keys(fields).join(", ")}`;
  const read = Object.entries(fields).map(([name, it]) => [name, it.read(Object.hasOwn(given, name) ? given[name] : undefined, prefix + name)]);
  return Object.fromEntries(read) as Settings<F>;
}

/** What may be left out. */
export function optional<T>(item: Setting<T>): Setting<T | undefined> {
  return { schema: item.schema, optional: true, read: (value, path) => (value === undefined ? undefined : item.read(value, path)) };
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
