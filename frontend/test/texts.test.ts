import { expect, test } from "vitest";
import de from "../../custom_components/ulogger/panel/texts/de.json";
import en from "../../custom_components/ulogger/panel/texts/en.json";
import es from "../../custom_components/ulogger/panel/texts/es.json";
import fr from "../../custom_components/ulogger/panel/texts/fr.json";
import zh from "../../custom_components/ulogger/panel/texts/zh-Hans.json";
import { localizer, nearest } from "../src/texts";

const placeholders = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

test.each(Object.entries({ de, es, fr, zh }))("%s says everything, with all values", (_, texts) => {
  expect(Object.keys(texts)).toEqual(Object.keys(en));
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    expect(texts[key].trim(), key).not.toBe("");
    expect(placeholders(texts[key]), key).toEqual(placeholders(en[key]));
  }
});

test("a language that is not there is English, and a region is its language", () => {
  expect(["de-CH", "zh-Hant", "pt-BR", "fr"].map(nearest)).toEqual(["de", "zh-Hans", "en", "fr"]);
});

test("values are put in, and what is missing stays visible", () => {
  const localize = localizer(en);
  expect(localize("found", { count: 3 })).toBe("3 lines");
  expect(localize("found")).toBe("{count} lines");
});

test.each([
  { texts: en, lines: "1 line", devices: "Asked of 1 device." },
  { texts: de, lines: "1 Zeile", devices: "Bei 1 Gerät angefordert." },
  { texts: es, lines: "1 línea", devices: "Solicitado a 1 dispositivo." },
  { texts: fr, lines: "1 ligne", devices: "Demandé à 1 appareil." },
])("one thing is one: $lines", ({ texts, lines, devices }) => {
  const localize = localizer(texts);
  expect(localize("found", { count: 1 })).toBe(lines);
  expect(localize("asked", { count: 1 })).toBe(devices);
});
