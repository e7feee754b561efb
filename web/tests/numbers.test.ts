import { expect, test } from "vitest";
import { Scale, about, identify, marked, productSign, resolve, show, sumSign } from "../src/numbers";
import list from "./numbers.json";

type Single = [number, string, string, string, string, string, string];

test.each(list.single as Single[])("%f is written as Python writes it", (value, ...texts) => {
  expect([
    marked(show(value)),
    marked(show(value, 3, false)),
    show(value, null).text,
    identify(value).text,
    identify(value, false).text,
    about(value),
  ]).toEqual(texts);
});

test.each(list.columns as [number[], string[]][])("a column agrees with itself: %j", (column, texts) => {
  const scale = Scale.of(column);
  expect(column.map((value) => marked(scale.show(value)))).toEqual(texts);
});

test.each(list.pairs as [[number, number], string[]][])("a difference shows: %j", (pair, texts) => {
  expect(resolve(pair, pair[1] - pair[0], true).map(marked)).toEqual(texts);
});

test.each(list.signs as [number[], string, string][])("signs hold for what is seen: %j", (values, product, sum) => {
  const [left, right] = [show(values[0]!), show(values[1]!)];
  expect(productSign(left, right, show(values[0]! * values[1]!))).toBe(product);
  expect(sumSign([left, right], show(values[0]! + values[1]!))).toBe(sum);
});
