"use strict";
// The student in the browser: values in, score out; the twin of remedi_spark.scoring.bundle.Bundle.score.
// A value is a number or null, of a category the place of a level. Every operation is the one that Python does, on the
// same float64, so that the scores agree to the last digits.
const student = (page) => {
  const { features, models, calibration, made } = page;
  const folds = 1 + Math.max(...models.map((model) => model.fold));
  const width = 1 + Math.max(-1, ...made.map(([slot]) => slot), ...features.flatMap((feature) => Object.values(feature.slots)));

  // By feature, the trees that ask about it: when it alone changes, only they have to be asked again.
  const owner = new Map(features.flatMap(({ slots }, i) => Object.values(slots).map((slot) => [slot, [i]])));
  for (const [slot, , first, second] of made) owner.set(slot, [...owner.get(first), ...owner.get(second)]);
  const asking = features.map(() => []);
  models.forEach((model, m) => {
    if (model.single) for (const tree of model.trees) tree.value = tree.value.map(Math.fround);
    model.trees.forEach((tree) => {
      const asked = new Set(tree.slot.filter((_, node) => tree.ask[node] > 0).flatMap((slot) => owner.get(slot)));
      for (const feature of asked) asking[feature].push([m, tree]);
    });
  });

  // ask: 0 a leaf, else 1 + 2 x (0 at most, 1 below, 2 equal), + 1 where null is a yes.
  // A symmetric tree asks one question a level, above the bound or not: ask is 2 where null is a yes, else 1. Its leaves
  // are whole numbers of a billionth.
  function symmetricLeaf(tree, row) {
    let place = 0;
    for (let level = 0; level < tree.slot.length; level += 1) {
      const value = row[tree.slot[level]];
      if (Number.isNaN(value) ? tree.ask[level] === 2 : value > tree.value[level]) place |= 1 << level;
    }
    return tree.leaves[place] * 1e-9;
  }

  function leaf(tree, row) {
    if (tree.leaves) return symmetricLeaf(tree, row);
    let at = 0;
    while (tree.ask[at]) {
      const ask = tree.ask[at] - 1;
      const value = row[tree.slot[at]];
      const bound = tree.value[at];
      let yes;
      if (Number.isNaN(value)) yes = ask % 2 === 1;
      else if (ask < 2) yes = value <= bound;
      else if (ask < 4) yes = value < bound;
      else yes = value === bound;
      at = yes ? tree.yes[at] : tree.no[at];
    }
    return tree.value[at];
  }

  // Encode one value in all rows of a state: one row a fold, and the same rounded to float32.
  function write(state, i, value) {
    const { slots, levels } = features[i];
    for (let fold = 0; fold < folds; fold += 1) {
      for (const [kind, slot] of Object.entries(slots)) {
        const table = levels && (kind === "target" ? levels.target[fold] : levels[kind]);
        const number = table ? table[value] : value ?? NaN;
        state.double[fold][slot] = number;
        state.single[fold][slot] = number;
      }
      for (const [slot, how, first, second] of made) {
        if (first !== slots.number && second !== slots.number) continue;
        const number = combined(how, state.double[fold][first], state.double[fold][second]);
        state.double[fold][slot] = number;
        state.single[fold][slot] = number;
      }
    }
  }

  // What is made of two numbers; the twin of remedi_spark.samples.layout.Made.of.
  function combined(how, first, second) {
    let found = first - second;
    if (how === "ratio") found = Math.abs(second) >= page.least ? first / second : NaN;
    return Math.abs(found) <= page.largest ? found : NaN;
  }

  const rowOf = (state, model) => (model.single ? state.single : state.double)[model.fold];

  function encoded(values) {
    const state = {
      double: Array.from({ length: folds }, () => new Float64Array(width)),
      single: Array.from({ length: folds }, () => new Float32Array(width)),
    };
    values.forEach((value, i) => write(state, i, value));
    return state;
  }

  function marginOf(state) {
    let total = 0;
    for (const model of models) {
      const row = rowOf(state, model);
      let sum = 0;
      for (const tree of model.trees) sum += leaf(tree, row);
      total += model.slope * (sum + model.start) + model.shift;
    }
    return total / models.length;
  }

  const sigmoid = (z) => (z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z)));
  const logSigmoid = (z) => Math.min(z, 0) - Math.log1p(Math.exp(-Math.abs(z)));

  function isotonic({ logits: x, probabilities: y, centre, scale }, z) {
    let piece = 0;
    while (piece < x.length - 2 && z >= x[piece + 1]) piece += 1;
    const inside = Math.max(x[0], Math.min(z, x[x.length - 1]));
    const line = x.length === 1 ? y[0]
      : y[piece] + ((y[piece + 1] - y[piece]) / (x[piece + 1] - x[piece])) * (inside - x[piece]);
    return (1 - page.rising) * line + page.rising * (0.5 + Math.atan((z - centre) / scale) / Math.PI);
  }

  function amount({ scale, unit, center, spread, lowest }, z) {
    let learned = z * spread + center;
    if (scale === "asinh") learned = Math.sinh(Math.max(-page.angle, Math.min(learned, page.angle))) * unit;
    return Math.max(learned, lowest ?? -Infinity);
  }

  const calibrators = {
    identity: (z) => sigmoid(z),
    platt: (z) => sigmoid(calibration.a * z + calibration.b),
    beta: (z) => sigmoid(calibration.a * logSigmoid(z) - calibration.b * logSigmoid(-z) + calibration.c),
    isotonic: (z) => isotonic(calibration, z),
    label_scale: (z) => amount(calibration, z),
  };
  const calibrated = calibrators[calibration.kind];

  return {
    score: (values) => calibrated(marginOf(encoded(values))),
    // The scores of an owner with one feature at each of some values, all others as they are.
    along(values, i, points) {
      const state = encoded(values);
      const margin = marginOf(state);
      const part = () => asking[i].reduce((sum, [m, tree]) => sum + models[m].slope * leaf(tree, rowOf(state, models[m])), 0);
      const before = part();
      return points.map((point) => {
        write(state, i, point);
        return calibrated(margin + (part() - before) / models.length);
      });
    },
  };
};
