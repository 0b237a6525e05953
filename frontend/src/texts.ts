type Texts = typeof import("../../custom_components/ulogger/panel/texts/en.json");

export type TextKey = keyof Texts;

/** The languages beside English, in files of their own that only their readers load. */
export const LANGUAGES = ["de", "es", "fr", "zh-Hans"] as const;

/** Says a text with values in its `{placeholders}`. */
export type Localize = (key: TextKey, values?: Record<string, string | number>) => string;

/** Returns the language that comes nearest to one of Home Assistant's (`de-CH`, `pt-BR`). */
export function nearest(language: string): string {
  const known = (each: string): boolean => (LANGUAGES as readonly string[]).includes(each);
  if (known(language)) return language;
  const [base = ""] = language.split("-");
  return known(base) ? base : base === "zh" ? "zh-Hans" : "en";
}

/** Loads the texts of a language; they stand beside the module that this is in. */
export async function loadTexts(language: string): Promise<Localize> {
  const here = new URL(import.meta.url);
  const response = await fetch(new URL(`texts/${nearest(language)}.json${here.search}`, here));
  if (!response.ok) throw new Error(`${response.url}: ${String(response.status)}`);
  return localizer((await response.json()) as Texts);
}

/** Returns what says the given texts; one thing is counted by a text of its own, if there is one. */
export function localizer(texts: Texts): Localize {
  return (key, values = {}) => {
    const one = `${key}_one`;
    const text = values["count"] === 1 && one in texts ? texts[one as TextKey] : texts[key];
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
}
