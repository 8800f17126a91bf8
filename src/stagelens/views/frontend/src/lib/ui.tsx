// Small parts that several widgets use.
import type { ComponentChildren } from "preact";
import { Gone, Refused, type Told } from "./channel";
import { useWords } from "./widget";

/** What the kernel refused, in its own words. */
export function Problem({ error }: { error: Error }) {
  const { t } = useWords();
  const gone = { what: t("The kernel that made this has ended."), remedy: t("run its cell again") };
  const other = error instanceof Gone ? gone : { what: String(error.message) };
  const told: Told = error instanceof Refused ? error.told : other;
  return (
    <div class="sl-problem" role="alert">
      <b>{told.what}</b>
      {told.where && <div>{t("where: {text}", { text: told.where })}</div>}
      {told.why && <div>{t("why: {text}", { text: told.why })}</div>}
      {told.remedy && <div>{t("next: {text}", { text: told.remedy })}</div>}
    </div>
  );
}

/** A few exclusive choices side by side. */
export function Choices<T extends string>(given: {
  label: string;
  value: T;
  options: [T, string][];
  choose(value: T): void;
}) {
  return (
    <div class="sl-choices" role="group" aria-label={given.label}>
      {given.options.map(([value, text]) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === given.value}
          onClick={() => given.choose(value)}
        >
          {text}
        </button>
      ))}
    </div>
  );
}

export function Code({ children }: { children: ComponentChildren }) {
  return <code class="sl-code">{children}</code>;
}

/** A Dockerfile instruction with its keyword set off. */
export function Instruction({ text }: { text: string }) {
  const space = text.indexOf(" ");
  const keyword = space < 0 ? text : text.slice(0, space);
  return (
    <code class="sl-code sl-instruction">
      <b>{keyword}</b>
      {space < 0 ? "" : text.slice(space)}
    </code>
  );
}

/** Figures with their names: [name, figure, class]. */
export function Facts({ facts }: { facts: [string, string, string][] }) {
  return (
    <ul class="sl-facts">
      {facts.map(([label, value, tone]) => (
        <li key={label}>
          <span class="sl-soft">{label}</span> <b class={tone}>{value}</b>
        </li>
      ))}
    </ul>
  );
}

export const SIGNS: Record<string, string> = { added: "+", changed: "~", removed: "−", "": "" };
