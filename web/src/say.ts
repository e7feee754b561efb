/** Messages of the catalogue. Python puts them into the document, so both sides say the same. */

export type Messages = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Fill in a message; English where the language lacks it, the key itself where both do. */
export function say(
  messages: Messages,
  lang: string,
  key: string,
  values: Readonly<Record<string, unknown>> = {},
): string {
  const message = messages[lang]?.[key] ?? messages["en"]?.[key] ?? key;
  return message.replace(/\{(\w+)\}/g, (whole, name: string) =>
    name in values ? String(values[name]) : whole,
  );
}
