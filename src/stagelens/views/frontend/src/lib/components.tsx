// Small components that several widgets use.
import type { ComponentChildren } from "preact";
import { type ErrorInfo, KernelGone, RequestFailed } from "./channel";
import { useTranslation } from "./widget";

/** An error of the kernel in its four parts, or of the connection to it. */
export function Problem({ error }: { error: Error }) {
  const { t } = useTranslation();
  const gone = { what: t("The kernel of this widget has stopped."), remedy: t("run its cell again") };
  const other = error instanceof KernelGone ? gone : { what: String(error.message) };
  const info: ErrorInfo = error instanceof RequestFailed ? error.info : other;
  return (
    <div class="sl-problem" role="alert">
      <b>{info.what}</b>
      {info.where && <div>{t("where: {text}", { text: info.where })}</div>}
      {info.why && <div>{t("why: {text}", { text: info.why })}</div>}
      {info.remedy && <div>{t("next: {text}", { text: info.remedy })}</div>}
    </div>
  );
}

/** A row of buttons of which one is pressed. */
export function Choices<T extends string>(props: {
  label: string;
  value: T;
  options: [T, string][];
  onSelect(value: T): void;
}) {
  return (
    <div class="sl-choices" role="group" aria-label={props.label}>
      {props.options.map(([value, text]) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === props.value}
          onClick={() => props.onSelect(value)}
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

/** A Dockerfile instruction with its keyword highlighted. */
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

/** Key figures: label, value, CSS class. */
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

/** The color of a stage, for `--sl-stage` in the rules. */
export const stageColor = (index: number) => `var(--sl-stage-${index % 6})`;

export const SIGNS: Record<string, string> = { added: "+", changed: "~", removed: "−", "": "" };
