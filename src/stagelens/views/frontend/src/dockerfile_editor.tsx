// A Dockerfile to write in: see stagelens/views/sheet.py. The text is a plain text area, so that keyboard,
// input methods and screen readers work as everywhere; the colours lie behind it.
import { useEffect, useRef, useState } from "preact/hooks";
import { useClock } from "./build/model";
import { colour } from "./editor/colours";
import { seconds } from "./lib/format";
import { Problem } from "./lib/ui";
import { useChannel, useTrait, useWords, widget } from "./lib/widget";
import "./dockerfile_editor.css";

/** line, level, message, rule */
type Finding = [number, "error" | "warning" | "info", string, string];

/** What is under way: a text, how many parts of it are done, of how many; or nothing. */
type Doing = [string, number, number] | [];

const PAUSE = 250;
const LINE = 20;
const PATIENCE = 1500;
/** What the text is written for; Ctrl+Enter does it, too. */
const MAIN = ["build", "check"];
/** What takes the text along: a trait's change may arrive later. */
const WRITES = ["save", ...MAIN];

function DockerfileEditor() {
  const { t, tn } = useWords();
  const channel = useChannel();
  const [path] = useTrait<string>("path");
  const [source, setSource] = useTrait<string>("source");
  const [problems] = useTrait<Finding[]>("problems");
  const [kept] = useTrait<string>("kept");
  const [there] = useTrait<boolean>("there");
  const [actions] = useTrait<string[]>("actions");
  const [off] = useTrait<string[]>("off");
  const [typed, setTyped] = useState(source);
  const [refused, setRefused] = useState<Error>();
  const [asked, setAsked] = useState(0);
  const late = useLate(asked > 0);
  const area = useRef<HTMLTextAreaElement>(null);
  const timer = useRef(0);
  useEffect(() => setTyped(source), [source]);

  const edit = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSource(text), PAUSE);
  };
  const ask = (name: string) => {
    if (!actions.includes(name) || off.includes(name)) return;
    clearTimeout(timer.current);
    setSource(typed);
    setRefused(undefined);
    setAsked((count) => count + 1);
    channel
      .request(name, WRITES.includes(name) ? { source: typed } : {})
      .catch(setRefused)
      .finally(() => setAsked((count) => count - 1));
  };
  const go = (line: number) => {
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
  const key = (event: KeyboardEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    if (event.key === "Enter") MAIN.forEach(ask);
    else if (event.key === "s") ask("save");
    else return;
    event.preventDefault();
  };
  return (
    <div class="sl-card sl-editor">
      <div class="sl-head">
        <p class="sl-title sl-code sl-path">{path}</p>
        <span class="sl-soft sl-grow" role="status">
          {there && typed === kept ? t("saved") : t("not saved yet")}
        </span>
        <Buttons actions={actions} off={off} ask={ask} />
      </div>
      {refused && <Problem error={refused} />}
      <News late={late} />
      <div class="sl-sheet">
        <Paper text={typed} problems={problems} />
        <textarea
          ref={area}
          class="sl-code"
          aria-label={t("Dockerfile")}
          spellcheck={false}
          autocapitalize="off"
          wrap="off"
          value={typed}
          style={{ height: `${Math.max(4, typed.split("\n").length) * LINE + 16}px` }}
          onInput={(event) => edit(event.currentTarget.value)}
          onKeyDown={key}
        />
      </div>
      <div class="sl-problems" role="region" aria-label={t("Problems")}>
        <p class="sl-soft">{tn("{n} problem", "{n} problems", problems.length)}</p>
        <ul>
          {problems.map(([line, level, message, rule], index) => (
            <li key={index}>
              <button type="button" class={`sl-level-${level}`} onClick={() => go(line)}>
                <b>{t("line {line}", { line })}</b> {rule && <span class="sl-badge">{rule}</span>} {message}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function Buttons({ actions, off, ask }: { actions: string[]; off: string[]; ask(name: string): void }) {
  const { t } = useWords();
  const labels: Record<string, string> = {
    save: t("Save"),
    build: t("Build"),
    check: t("Check"),
    cancel: t("Cancel"),
    hint: t("Hint"),
    reset: t("Start over"),
  };
  // One that is off is still reached by Tab: who pressed it by the keyboard stays where they are.
  return (
    <div class="sl-buttons">
      {actions.map((name) => (
        <button
          key={name}
          type="button"
          class={`sl-button ${MAIN.includes(name) ? "sl-main" : ""}`}
          title={MAIN.includes(name) ? t("Ctrl+Enter") : undefined}
          aria-disabled={off.includes(name)}
          onClick={() => ask(name)}
        >
          {labels[name]}
        </button>
      ))}
    </div>
  );
}

/** What is under way, and what the last button had to say. */
function News({ late }: { late: boolean }) {
  const { t } = useWords();
  const [doing] = useTrait<Doing>("doing");
  const [said] = useTrait<string>("said");
  const [text = "", done = 0, all = 0] = doing;
  const told = text || said;
  return (
    <>
      {all > 0 && <Share label={text} done={done} all={all} />}
      <div class={told || late ? "sl-news" : ""} role="status">
        {told}
        {late && <div class="sl-soft">{t("Waiting for the kernel…")}</div>}
      </div>
    </>
  );
}

/** How much is done, and for how long already: a part may take minutes. */
function Share({ label, done, all }: { label: string; done: number; all: number }) {
  const clock = useClock(0, true);
  return (
    <div class="sl-share">
      <progress aria-label={label} value={done} max={all} />
      <span class="sl-soft" aria-hidden="true">
        {seconds(Math.floor(clock)).replace(".0", "")}
      </span>
    </div>
  );
}

/** Whether it has taken so long that a reader wonders. */
function useLate(waiting: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (!waiting) return;
    const timer = setTimeout(() => setLate(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [waiting]);
  return late;
}

/** The lines in colours, with their numbers and marks; what is written on lies over it. */
function Paper({ text, problems }: { text: string; problems: Finding[] }) {
  const marked = new Map([...problems].reverse().map(([line, level]) => [line, level]));
  return (
    <div class="sl-paper sl-code" aria-hidden="true">
      {colour(text).map((tokens, index) => (
        <div key={index} class={marked.has(index + 1) ? `sl-at-${marked.get(index + 1)}` : ""}>
          <span class="sl-no">{index + 1}</span>
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
