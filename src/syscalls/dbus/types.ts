/** Types of the D-Bus wire format (D-Bus Specification, "Type System"), and the values that stand for them. */
import { DBusFormatError } from './error.js';

export type BasicCode = 'y' | 'b' | 'n' | 'q' | 'i' | 'u' | 'x' | 't' | 'd' | 's' | 'o' | 'g' | 'h';

export type Type =
  | { readonly kind: 'basic'; readonly code: BasicCode }
  | { readonly kind: 'variant' }
  | { readonly kind: 'array'; readonly item: Type }
  /** A dictionary entry is laid out as a struct of two. */
  | { readonly kind: 'struct'; readonly fields: readonly Type[] };

/** A value that carries its own signature, which is of one complete type. */
export interface Variant {
  readonly signature: string;
  readonly value: Value;
}

/**
 * `x` and `t` are bigints, other numbers numbers, `ay` bytes, structs and dictionary entries arrays of their fields.
 */
export type Value = number | bigint | boolean | string | Uint8Array | Variant | readonly Value[];

const MAX_SIGNATURE = 255;
/** Of arrays and of structs, each. */
const MAX_DEPTH = 32;
const BASIC = new Set('ybnqiuxtdsogh');

const ALIGNMENTS: Readonly<Record<BasicCode, number>> = {
  y: 1,
  b: 4,
  n: 2,
  q: 2,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  d: 8,
  s: 4,
  o: 4,
  g: 1,
  h: 4,
};

export function alignmentOf(type: Type): number {
  switch (type.kind) {
    case 'basic':
      return ALIGNMENTS[type.code];
    case 'variant':
      return 1;
    case 'array':
      return 4;
    case 'struct':
      return 8;
  }
}

interface Depth {
  readonly arrays: number;
  readonly structs: number;
}

class SignatureParser {
  private at = 0;

  constructor(private readonly text: string) {}

  get done(): boolean {
    return this.at >= this.text.length;
  }

  type(depth: Depth): Type {
    const code = this.text[this.at++];
    if (code === 'a') return this.array({ ...depth, arrays: depth.arrays + 1 });
    if (code === '(') return this.struct({ ...depth, structs: depth.structs + 1 });
    if (code === 'v') return { kind: 'variant' };
    if (code !== undefined && BASIC.has(code)) return { kind: 'basic', code: code as BasicCode };
    throw this.wrong(code === undefined ? 'ends in the middle of a type' : `has no type ${JSON.stringify(code)}`);
  }

  private array(depth: Depth): Type {
    if (depth.arrays > MAX_DEPTH) throw this.wrong('nests arrays too deeply');
    if (this.text[this.at] !== '{') return { kind: 'array', item: this.type(depth) };
    this.at++;
    const inside = { ...depth, structs: depth.structs + 1 };
    if (inside.structs > MAX_DEPTH) throw this.wrong('nests structs too deeply');
    const key = this.type(inside);
    if (key.kind !== 'basic') throw this.wrong('has a dictionary whose key is no basic type');
    const item: Type = { kind: 'struct', fields: [key, this.type(inside)] };
    if (this.text[this.at++] !== '}') throw this.wrong('has a dictionary entry that is not a key and a value');
    return { kind: 'array', item };
  }

  private struct(depth: Depth): Type {
    if (depth.structs > MAX_DEPTH) throw this.wrong('nests structs too deeply');
    const fields: Type[] = [];
    while (this.text[this.at] !== ')') fields.push(this.type(depth));
    this.at++;
    if (fields.length === 0) throw this.wrong('has an empty struct');
    return { kind: 'struct', fields };
  }

  private wrong(what: string): DBusFormatError {
    return new DBusFormatError(`signature ${JSON.stringify(this.text)} ${what}`);
  }
}

const parsed = new Map<string, readonly Type[]>();

/** The complete types of a signature. @throws DBusFormatError */
export function typesOf(signature: string): readonly Type[] {
  const known = parsed.get(signature);
  if (known !== undefined) return known;
  if (signature.length > MAX_SIGNATURE) throw new DBusFormatError('a signature is longer than 255 bytes');
  const parser = new SignatureParser(signature);
  const types: Type[] = [];
  while (!parser.done) types.push(parser.type({ arrays: 0, structs: 0 }));
  // Few are in use; what a peer sends is bounded by what it may send.
  if (parsed.size < 256) parsed.set(signature, types);
  return types;
}

/** The one complete type that a variant holds. */
export function variantType(signature: string): Type {
  const [type, ...more] = typesOf(signature);
  if (type === undefined || more.length > 0) {
    throw new DBusFormatError(`a variant of signature ${JSON.stringify(signature)} is not of one complete type`);
  }
  return type;
}
