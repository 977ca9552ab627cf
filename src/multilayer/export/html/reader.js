/* Predicts with a model of multilayer: raw columns in, the prediction out. Plain JavaScript, no library.

   A model is a list of steps, in JSON, and their arrays. Every step is here by its name, and does what
   docs/format.md says of it. A row is an object with a value for each input:

     number, exposure  a number; null is missing
     text              a string; null or "" is missing
     date, written     a BigInt, microseconds since 1970 in UTC; null is missing                                  */

"use strict";

const MultilayerReader = (() => {
  const DAY = 86400000000n;

  // Whole numbers, and searching

  const floorDivide = (x, by) => (x - ((x % by) + by) % by) / by;
  const modulo = (x, by) => ((x % by) + by) % by;

  /* How many ascending edges are below x; or up to it. */
  function count(x, edges, upTo) {
    let low = 0, high = edges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (upTo ? edges[middle] <= x : edges[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const clip = (x, low, high) => (x < low ? low : x > high ? high : x);
  const pick = (values, i) => values[Math.min(i, values.length - 1)];

  function interpolate(x, knots, places) {
    if (Number.isNaN(x)) return x;
    const n = knots.length, i = count(x, knots, true);
    if (i === 0) return places[0];
    if (i === n) return places[n - 1];
    return ((places[i] - places[i - 1]) / (knots[i] - knots[i - 1])) * (x - knots[i - 1]) + places[i - 1];
  }

  // Levels of categories

  const POINTED = /^-?(0|[1-9]\d*)\.\d+$/;

  /* One text for texts of the same truth value or decimal number. */
  function valueText(text) {
    const lower = text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    if (lower === "true" || lower === "false") return lower;
    return POINTED.test(text) ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
  }

  function codesOf(levels) {
    const exact = new Map(), alike = new Map();
    levels.forEach((level, i) => {
      exact.set(level, i + 2);
      if (!alike.has(valueText(level))) alike.set(valueText(level), i + 2);
    });
    return (text) => exact.get(text) ?? alike.get(valueText(text)) ?? 1;
  }

  // Dates. Source: Hinnant 2013, "chrono-compatible low-level date algorithms"

  function calendar(date) {
    const day = Number(modulo(floorDivide(date, DAY) + 719468n, 146097n));
    const whole = (x, by) => Math.floor(x / by);
    const year = whole(day - whole(day, 1460) + whole(day, 36524) - whole(day, 146096), 365);
    const sinceMarch = day - (365 * year + whole(year, 4) - whole(year, 100));
    return { year, sinceMarch, months: whole(5 * sinceMarch + 2, 153) };
  }

  const PARTS = {
    month: (date) => (calendar(date).months + 2) % 12,
    monthday: (date) => {
      const { sinceMarch, months } = calendar(date);
      return sinceMarch - Math.floor((153 * months + 2) / 5);
    },
    yearday: (date) => {
      const { year, sinceMarch } = calendar(date);
      const isLeap = (year % 4 === 0 && year % 100 !== 0) || year === 0;
      return sinceMarch < 306 ? sinceMarch + 59 + (isLeap ? 1 : 0) : sinceMarch - 306;
    },
    weekday: (date) => Number(modulo(floorDivide(date, DAY) + 3n, 7n)),
    hour: (date) => Number(modulo(date, DAY)) / 3600000000,
  };

  function inZone(date, quarters, offsets) {
    let quarter = floorDivide(date, 900000000n);
    if (quarter < -69039456n) quarter = -69039456n;
    if (quarter > 281558016n) quarter = 281558016n;
    if (quarter > 4557887n) quarter = modulo(quarter - 4557888n, 14025312n) + 4557888n;
    return date + offsets[count(quarter, quarters, true)];
  }

  // Free text

  const BASE = 0x9e3779b97f4a7c15n, MIX = 0xbf58476d1ce4e5b9n;
  const whole64 = (x) => BigInt.asUintN(64, x);
  const IS_LETTER = /[\p{L}\p{M}\p{N}\p{S}]/u;

  function bucket(hash) {
    let mixed = whole64((hash ^ (hash >> 31n)) * MIX);
    mixed = whole64((mixed ^ (mixed >> 29n)) * BASE);
    return Number(mixed >> 45n);
  }

  /* How often each term of the model is in a text, and the number of its words. */
  function terms(text, step) {
    const counts = new Float64Array(step.buckets.length);
    const add = (hash) => {
      const term = step.termOf.get(hash);
      if (term !== undefined) counts[term]++;
    };
    const read = Array.from(text).slice(0, 20000).join("").normalize("NFKC");
    const folded = Array.from(read, (letter) => step.folded.get(letter) ?? letter).join("");
    const line = [0n];
    for (const letter of folded) {
      const value = IS_LETTER.test(letter) ? whole64(BigInt(letter.codePointAt(0) + 1) * MIX) : 0n;
      if (value || line[line.length - 1]) line.push(value);
    }
    if (line[line.length - 1]) line.push(0n);
    for (let start = 0; start < line.length; start++) {
      let piece = line[start];
      for (let size = 2; size <= 5 && start + size <= line.length; size++) {
        piece = whole64(piece * BASE + line[start + size - 1]);
        if (size > 2) add(bucket(piece ^ BigInt(size)) + 524288);
        if (!line[start + size - 1]) break;
      }
    }
    let nWords = 0, before = 0n, word = 0n, power = 1n;
    for (const value of line.slice(1)) {
      if (value) {
        word = whole64(word + value * power);
        power = whole64(power * BASE);
        continue;
      }
      add(bucket(word));
      if (nWords) add(bucket(whole64(before * MIX + word) ^ 1n));
      nWords++;
      [before, word, power] = [word, 0n, 1n];
    }
    return { counts, nWords };
  }

  function textVector(text, step) {
    const { counts, nWords } = terms(text, step), width = step.center.length - 1;
    const values = new Map(), lengths = [0, 0], y = new Float64Array(width + 1);
    counts.forEach((times, term) => {
      if (!times) return;
      const value = (1 + Math.log(times)) * step.weights[term];
      values.set(term, value);
      lengths[term >= step.n_word_terms ? 1 : 0] += value * value;
    });
    for (const [term, value] of values) {
      const share = value / Math.sqrt(lengths[term >= step.n_word_terms ? 1 : 0]);
      for (let i = 0; i < width; i++) y[i] += share * step.projection[term * width + i];
    }
    y[width] = Math.log1p(nWords);
    return y.map((value, i) => (value - step.center[i]) / step.scale[i]);
  }

  // The steps of an encoder: from what came before, x, of a cell

  function smoothClip(x, bound) {
    const cut = clip(x, -1e8, 1e8), share = cut / bound;
    return cut / Math.sqrt(1 + share * share);
  }

  const STEPS = {
    IsMissing: (s, x, cell) => (cell.missing ? 1 : 0),
    Fill: (s, x, cell) => (cell.missing ? s.value : x),
    FillDate: (s, x, cell) => (cell.missing ? 0n : x),
    Tame: (s, x) => (Math.abs(x) < 1e-150 ? 0 : clip(x, -1e150, 1e150)),
    Constant: (s) => s.value,
    Subtract: (s, x) => x - s.value,
    Multiply: (s, x) => Number(x) * s.value,
    Divide: (s, x) => x / s.value,
    Clip: (s, x) => clip(x, s.low, s.high),
    SmoothClip: (s, x) => (x instanceof Float64Array ? x.map((each) => smoothClip(each, s.bound)) : smoothClip(x, s.bound)),
    Interpolate: (s, x) => interpolate(x, s.knots, s.places),
    Days: (s, x, cell) => (cell.missing ? NaN : Number(x) / 86400000000),
    AsWritten: (s, x, cell) => cell.written ?? x,
    InZone: (s, x, cell) => (cell.missing ? x : inZone(x, s.quarters, s.offsets)),
    Part: (s, x) => PARTS[s.name](x),
    Sine: (s, x) => Math.sin(x),
    Cosine: (s, x) => Math.cos(x),
    Code: (s, x, cell) => (cell.missing ? 0 : s.codeOf(x)),
    Equals: (s, x) => (x === s.code ? 1 : 0),
    Pick: (s, x) => pick(s.values, x),
    Bin: (s, x) => count(x, s.edges, false),
    Vectors: (s, x, cell) =>
      (cell.vector ??= cell.missing ? new Float64Array(s.center.length) : textVector(x, s)),
    Take: (s, x) => x[s.place],
  };

  const PREPARED = {
    Code: (s) => (s.codeOf = codesOf(s.levels)),
    Vectors: (s) => {
      s.termOf = new Map(Array.from(s.buckets, (hash, term) => [hash, term]));
      s.folded = new Map(s.folded);
    },
  };

  // The steps of networks: Float32Array to Float32Array

  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  /* Source: series and continued fraction, Abramowitz & Stegun 7.1.6 and 7.1.14 */
  function erf(x) {
    const size = Math.abs(x);
    if (size < 2.5) {
      let term = size, sum = size;
      for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) sum += term *= (2 * size * size) / (2 * n + 1);
      return ((Math.sign(x) * 2) / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum;
    }
    let fraction = size;
    for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
    return Math.sign(x) * (1 - Math.exp(-size * size) / (fraction * Math.sqrt(Math.PI)));
  }

  const ACTIVATIONS = {
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    gelu: (x) => (x * (1 + erf(x * Math.SQRT1_2))) / 2,
    leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
    mish: (x) => x * Math.tanh(softplus(x)),
    relu: (x) => (x > 0 ? x : 0),
    selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
    sigmoid,
    silu: (x) => x * sigmoid(x),
    softplus,
    tanh: Math.tanh,
  };

  /* y = W x + b for one group of columns, from x[from] and to y[to] on. */
  function product(x, from, nIn, weight, at, bias, biasAt, nOut, y, to) {
    for (let i = 0; i < nOut; i++, at += nIn) {
      let sum = 0;
      for (let j = 0; j < nIn; j++) sum += weight[at + j] * x[from + j];
      y[to + i] = sum + bias[biasAt + i];
    }
  }

  const byNumber = (x, f) => {
    const y = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) y[i] = f(x[i], i);
    return y;
  };

  /* A function of the numbers at one place of all groups. */
  const acrossGroups = (x, nGroups, f) => {
    const n = x.length / nGroups;
    return Float32Array.from({ length: n }, (_, i) => f(Array.from({ length: nGroups }, (_, g) => x[g * n + i])));
  };

  function logSumExp(values) {
    const most = Math.max(...values);
    return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  }

  const NETWORK = {
    Columns: (s, x) => Float32Array.from(s.places, (place) => x[Number(place)]),
    Lookup: (s, x) => {
      const width = s.shapes.table[1], start = x[s.place] * width;
      return s.table.slice(start, start + width);
    },
    Affine: (s, x) => byNumber(x, (value, i) => Math.fround(value * s.scale[i]) + s.shift[i]),
    Linear: (s, x) => {
      const [nOut, nIn] = s.shapes.weight, y = new Float32Array(s.groups * nOut);
      for (let g = 0; g < s.groups; g++) product(x, g * nIn, nIn, s.weight, 0, s.bias, 0, nOut, y, g * nOut);
      return y;
    },
    LinearOfEach: (s, x) => {
      const [n, nOut, nIn] = s.shapes.weight, y = new Float32Array(n * nOut);
      for (let g = 0; g < n; g++)
        product(x, g * nIn, nIn, s.weight, g * nOut * nIn, s.bias, g * nOut, nOut, y, g * nOut);
      return y;
    },
    Ramp: (s, x) => byNumber(x, (value, i) => clip((value - s.start[i]) / s.width[i], s.low[i], s.high[i])),
    Activation: (s, x) => byNumber(x, ACTIVATIONS[s.name]),
    PReLU: (s, x) => byNumber(x, (value, i) => (value > 0 ? value : s.slope[i] * value)),
    Cosine: (s, x) => byNumber(x, Math.cos),
    LayerNorm: (s, x) => {
      const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
      const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
      return byNumber(x, (value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * s.scale[i] + s.shift[i]);
    },
    Concatenate: (s, ...x) => {
      const y = new Float32Array(x.reduce((n, part) => n + part.length, 0));
      let start = 0;
      for (const part of x) {
        y.set(part, start);
        start += part.length;
      }
      return y;
    },
    Add: (s, a, b) => byNumber(a, (value, i) => value + b[i]),
    Mean: (s, x) => acrossGroups(x, s.groups, (v) => v.reduce((sum, value) => sum + value, 0) / v.length),
    LogSoftmax: (s, x) => {
      const n = x.length / s.groups, y = new Float32Array(x.length);
      for (let start = 0; start < x.length; start += n) {
        const total = logSumExp(Array.from(x.subarray(start, start + n)));
        for (let i = start; i < start + n; i++) y[i] = x[i] - total;
      }
      return y;
    },
    LogMeanExp: (s, x) => acrossGroups(x, s.groups, (v) => logSumExp(v) - Math.log(v.length)),
  };

  // The steps from outputs to a prediction: arrays of numbers

  const LINK = {
    First: (s, x) => [x[0]],
    Scale: (s, x) => x.map((value) => value * s.factor),
    Shift: (s, x) => x.map((value) => value + s.by),
    Clip: (s, x) => x.map((value) => clip(value, s.low, s.high)),
    Exp: (s, x) => x.map(Math.exp),
    Sort: (s, x) => x.slice().sort((a, b) => a - b),
    Sigmoid: (s, x) => x.map(sigmoid),
    BothClasses: (s, x) => [1 - x[0], x[0]],
    Softmax: (s, x) => {
      const most = Math.max(...x), powers = x.map((value) => Math.exp(Math.max(value - most, -87)));
      const total = powers.reduce((sum, value) => sum + value, 0);
      return powers.map((value) => value / total);
    },
    OfEach: (s, x) => s.steps.flatMap((steps, i) => linked(steps, x.slice(i * s.width, (i + 1) * s.width))),
  };

  const linked = (steps, x) => steps.reduce((value, step) => LINK[step.step](step, value), x);

  // Arrays

  const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=:?@^_`{|}~";

  /* Bytes of a text in which five letters stand for four bytes. */
  function fromLetters(text) {
    const value = new Uint8Array(128), letters = text.trim();
    Array.from(ALPHABET).forEach((letter, i) => (value[letter.charCodeAt(0)] = i));
    const bytes = new Uint8Array(Math.ceil(letters.length / 5) * 4), view = new DataView(bytes.buffer);
    for (let i = 0; i < letters.length; i += 5) {
      let word = 0;
      for (let j = i; j < i + 5; j++) word = word * 85 + (j < letters.length ? value[letters.charCodeAt(j)] : 84);
      view.setUint32((i / 5) * 4, word % 4294967296);
    }
    return bytes.subarray(0, Math.floor((letters.length * 4) / 5));
  }

  async function inflated(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const POOLS = { f4: [Float32Array, 4], f8: [Float64Array, 8], i8: [BigInt64Array, 8], u4: [Uint32Array, 4] };

  /* Numbers of each type: first bytes of all come first, then second bytes, ... */
  function pools(bytes, lengths) {
    const found = {};
    let start = 0;
    for (const [name, n] of Object.entries(lengths)) {
      const [Kind, size] = POOLS[name], mixed = new Uint8Array(n * size);
      for (let i = 0; i < n; i++) for (let k = 0; k < size; k++) mixed[i * size + k] = bytes[start + k * n + i];
      found[name] = new Kind(mixed.buffer);
      start += n * size;
    }
    return found;
  }

  /* A step with its arrays and infinities. */
  function completed(step, found) {
    const whole = { shapes: {} };
    for (const [name, value] of Object.entries(step)) {
      if (value !== null && typeof value === "object" && value.array) {
        const [pool, start, shape] = value.array;
        whole[name] = found[pool].subarray(start, start + shape.reduce((n, each) => n * each, 1));
        whole.shapes[name] = shape;
      } else if (step.step === "OfEach" && name === "steps") {
        whole.steps = value.map((chain) => chain.map((each) => completed(each, found)));
      } else {
        whole[name] = value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
      }
    }
    PREPARED[whole.step]?.(whole);
    return whole;
  }

  /* A model. about: the JSON; letters: the text of its arrays. */
  async function load(about, letters) {
    if (about.format !== 1) throw new Error(`this page reads format 1 of models; got ${about.format}`);
    const found = pools(await inflated(fromLetters(letters)), about.pools);
    const complete = (step) => completed(step, found);
    const steps = about.steps.map(complete);
    const networks = about.networks.map((nodes) =>
      nodes.map((node) => ({ step: complete(node.step), inputs: node.inputs })),
    );
    const link = about.link.map(complete);
    const run = (chain, x, cell) =>
      chain.reduce((value, place) => STEPS[steps[place].step](steps[place], value, cell), x);

    /* The numbers and codes of a row, Float32Array. */
    function encode(row) {
      const numbers = [], codes = [];
      for (const column of about.columns) {
        const x = row[column.input] ?? null, missing = x === null || x === "" || Number.isNaN(x);
        const none = column.role === "date" ? 0n : column.role === "text" ? "" : NaN;
        const cell = { missing, written: column.written === null ? null : row[column.written] };
        const start = missing ? none : x;
        for (const chain of column.chains) numbers.push(Math.fround(run(chain, start, cell)));
        if (column.code !== null) codes.push(run([column.code], start, cell));
      }
      for (const each of about.statistics) {
        const source = each.of_code ? codes[each.place] : numbers[each.place];
        numbers.push(Math.fround(run(each.chain, source, { missing: false })));
      }
      return Float32Array.from([...numbers, ...codes]);
    }

    function outputs(nodes, x) {
      const values = [x];
      for (const { step, inputs } of nodes) values.push(NETWORK[step.step](step, ...inputs.map((i) => values[i])));
      return Array.from(values[values.length - 1]);
    }

    /* The prediction for encoded numbers: an array of about.outputs.length numbers. */
    function fromInputs(x) {
      const total = about.weights.reduce((sum, weight) => sum + weight, 0);
      const mean = new Array(about.outputs.length).fill(0);
      networks.forEach((nodes, i) =>
        linked(link, outputs(nodes, x)).forEach((value, k) => (mean[k] += about.weights[i] * value)),
      );
      return mean.map((value) => value / total);
    }

    function predict(row) {
      const exposure = about.exposure === null ? 1 : row[about.exposure];
      return fromInputs(encode(row)).map((value) => value * exposure);
    }

    return { about, encode, fromInputs, predict };
  }

  return { load, STEPS, NETWORK, LINK, ACTIVATIONS };
})();

if (typeof module !== "undefined") module.exports = MultilayerReader;
