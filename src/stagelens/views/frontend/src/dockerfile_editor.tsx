// A Dockerfile editor; see stagelens/views/editor_base.py. The text is in a plain text area, so that keyboard, input methods
// and screen readers work as usual. The highlighted text is a layer behind it.
import { useEffect, useRef, useState } from "preact/hooks";
import { highlight } from "./editor/highlighter";
import { useClock } from "./lib/clock";
import { Problem } from "./lib/components";
import { seconds } from "./lib/format";
import { useChannel, useTrait, useTranslation, widget } from "./lib/widget";
import "./dockerfile_editor.css";

/** line, level, message, rule */
type Finding = [number, "error" | "warning" | "info", string, string];

/** What is running: a text, how many of its parts are done, and how many there are; empty if nothing runs. */
type Progress = [string, number, number] | [];

/** The milliseconds without typing after which the text goes to the kernel. */
const DEBOUNCE = 250;
const LINE_HEIGHT = 20;
/** The milliseconds after which a request counts as slow. */
const SLOW_AFTER = 1500;
/** The actions of Ctrl+Enter. */
const PRIMARY_ACTIONS = ["build", "check"];
/** Actions that send the text with the request, because a trait's change may arrive later. */
const SAVING_ACTIONS = ["save", ...PRIMARY_ACTIONS];

function DockerfileEditor() {
  const { t, tn } = useTranslation();
  const channel = useChannel();
  const [path] = useTrait<string>("path");
  const [source, setSource] = useTrait<string>("source");
  const [problems] = useTrait<Finding[]>("problems");
  const [savedText] = useTrait<string>("saved_text");
  const [exists] = useTrait<boolean>("exists");
  const [actions] = useTrait<string[]>("actions");
  const [disabled] = useTrait<string[]>("disabled");
  const [typed, setTyped] = useState(source);
  const [error, setError] = useState<Error>();
  const [pending, setPending] = useState(0);
  const slow = useSlow(pending > 0);
  const area = useRef<HTMLTextAreaElement>(null);
  const timer = useRef(0);
  useEffect(() => setTyped(source), [source]);

  const edit = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSource(text), DEBOUNCE);
  };
  const run = (name: string) => {
    if (!actions.includes(name) || disabled.includes(name)) return;
    clearTimeout(timer.current);
    setSource(typed);
    setError(undefined);
    setPending((count) => count + 1);
    channel
      .request(name, SAVING_ACTIONS.includes(name) ? { source: typed } : {})
      .catch(setError)
      .finally(() => setPending((count) => count - 1));
  };
  const goToLine = (line: number) => {
    const box = area.current;
    if (!box) return;
    const start =
      typed
        .split("\n")
        .slice(0, line - 1)
        .join("\n").length + (line > 1 ? 1 : 0);
    box.focus();
    box.setSelectionRange(start, start + (typed.split("\n")[line - 1]?.length ?? 0));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    if (event.key === "Enter") PRIMARY_ACTIONS.forEach(run);
    else if (event.key === "s") run("save");
    else return;
    event.preventDefault();
  };
  return (
    <div class="sl-card sl-editor">
      <div class="sl-head">
        <p class="sl-title sl-code sl-path">{path}</p>
        <span class="sl-soft sl-grow" role="status">
          {exists && typed === savedText ? t("saved") : t("not saved yet")}
        </span>
        <Buttons actions={actions} disabled={disabled} onAction={run} />
      </div>
      {error && <Problem error={error} />}
      <Status slow={slow} />
      <div class="sl-source">
        <HighlightLayer text={typed} problems={problems} />
        <textarea
          ref={area}
          class="sl-code"
          aria-label={t("Dockerfile")}
          spellcheck={false}
          autocapitalize="off"
          wrap="off"
          value={typed}
          style={{ height: `${Math.max(4, typed.split("\n").length) * LINE_HEIGHT + 16}px` }}
          onInput={(event) => edit(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      <div class="sl-problems" role="region" aria-label={t("Problems")}>
        <p class="sl-soft">{tn("{n} problem", "{n} problems", problems.length)}</p>
        <ul>
          {problems.map(([line, level, message, rule], index) => (
            <li key={index}>
              <button type="button" class={`sl-level-${level}`} onClick={() => goToLine(line)}>
                <b>{t("line {line}", { line })}</b> {rule && <span class="sl-badge">{rule}</span>} {message}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function Buttons({
  actions,
  disabled,
  onAction,
}: {
  actions: string[];
  disabled: string[];
  onAction(name: string): void;
}) {
  const { t } = useTranslation();
  const labels: Record<string, string> = {
    save: t("Save"),
    build: t("Build"),
    check: t("Check"),
    cancel: t("Cancel"),
    hint: t("Hint"),
    reset: t("Start over"),
  };
  // aria-disabled instead of disabled: a button keeps the keyboard focus.
  return (
    <div class="sl-buttons">
      {actions.map((name) => (
        <button
          key={name}
          type="button"
          class={`sl-button ${PRIMARY_ACTIONS.includes(name) ? "sl-primary" : ""}`}
          title={PRIMARY_ACTIONS.includes(name) ? t("Ctrl+Enter") : undefined}
          aria-disabled={disabled.includes(name)}
          onClick={() => onAction(name)}
        >
          {labels[name]}
        </button>
      ))}
    </div>
  );
}

/** What is running, or the result of the last action. */
function Status({ slow }: { slow: boolean }) {
  const { t } = useTranslation();
  const [progress] = useTrait<Progress>("progress");
  const [message] = useTrait<string>("message");
  const [text = "", done = 0, all = 0] = progress;
  const shown = text || message;
  return (
    <>
      {all > 0 && <TaskProgress label={text} done={done} all={all} />}
      <div class={shown || slow ? "sl-status" : ""} role="status">
        {shown}
        {slow && <div class="sl-soft">{t("Waiting for the kernel…")}</div>}
      </div>
    </>
  );
}

/** How much is done, and the time so far, because a part may take minutes. */
function TaskProgress({ label, done, all }: { label: string; done: number; all: number }) {
  const clock = useClock(0, true);
  return (
    <div class="sl-task">
      <progress aria-label={label} value={done} max={all} />
      <span class="sl-soft" aria-hidden="true">
        {seconds(Math.floor(clock)).replace(".0", "")}
      </span>
    </div>
  );
}

/** Whether the request takes longer than usual. */
function useSlow(waiting: boolean): boolean {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    setSlow(false);
    if (!waiting) return;
    const timer = setTimeout(() => setSlow(true), SLOW_AFTER);
    return () => clearTimeout(timer);
  }, [waiting]);
  return slow;
}

/** The highlighted lines with their numbers and problem markers, behind the text area. */
function HighlightLayer({ text, problems }: { text: string; problems: Finding[] }) {
  const levels = new Map([...problems].reverse().map(([line, level]) => [line, level]));
  return (
    <div class="sl-highlight sl-code" aria-hidden="true">
      {highlight(text).map((tokens, index) => (
        <div key={index} class={levels.has(index + 1) ? `sl-at-${levels.get(index + 1)}` : ""}>
          <span class="sl-line-number">{index + 1}</span>
          {tokens.map(([part, kind], n) =>
            kind ? (
              <span key={n} class={`sl-is-${kind}`}>
                {part}
              </span>
            ) : (
              part
            ),
          )}
        </div>
      ))}
    </div>
  );
}

export default widget(DockerfileEditor, "editor");
