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
  let parts = cut.get(message);
  if (!parts) cut.set(message, (parts = message.split(/\{(\w+)\}/)));
  if (parts.length < 2) return message;
  return parts.map((part, n) => (n % 2 ? (part in values ? String(values[part]) : `{${part}}`) : part)).join("");
}

/** Messages, cut at their placeholders: text and name in turn. */
const cut = new Map<string, string[]>();
