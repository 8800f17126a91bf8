// A Dockerfile to write in: see stagelens/views/editor.py. The text is a plain text area, so that keyboard,
// input methods and screen readers work as everywhere; the colours lie behind it.
import { useEffect, useRef, useState } from "preact/hooks";
import { colour } from "./editor/colours";
import { Problem } from "./lib/ui";
import { useChannel, useTrait, useWords, widget } from "./lib/widget";
import styles from "./dockerfile_editor.css";
import controls from "./lib/tree.css";

/** line, level, message, rule */
type Finding = [number, "error" | "warning" | "info", string, string];

const PAUSE = 250;
const LINE = 20;

function DockerfileEditor() {
  const { t, tn } = useWords();
  const channel = useChannel();
  const [path] = useTrait<string>("path");
  const [source, setSource] = useTrait<string>("source");
  const [problems] = useTrait<Finding[]>("problems");
  const [saved] = useTrait<boolean>("saved");
  const [typed, setTyped] = useState(source);
  const [refused, setRefused] = useState<Error>();
  const area = useRef<HTMLTextAreaElement>(null);
  const timer = useRef(0);
  useEffect(() => setTyped(source), [source]);

  const edit = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSource(text), PAUSE);
  };
  const ask = (name: string) => {
    clearTimeout(timer.current);
    setRefused(undefined);
    // The text goes with the request: a trait's change may arrive later.
    channel.request(name, { source: typed }).catch(setRefused);
  };
  const go = (line: number) => {
    const box = area.current;
    if (!box) return;
    const start = typed.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    box.focus();
    box.setSelectionRange(start, start + (typed.split("\n")[line - 1]?.length ?? 0));
  };
  const key = (event: KeyboardEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    if (event.key === "Enter") ask("build");
    else if (event.key === "s") ask("save");
    else return;
    event.preventDefault();
  };
  return (
    <div class="sl-card sl-editor">
      <div class="sl-head">
        <p class="sl-title sl-code sl-path">{path}</p>
        <span class="sl-soft sl-grow" role="status">
          {typed === source && saved ? t("saved") : t("not saved yet")}
        </span>
        <button type="button" class="sl-button" onClick={() => ask("save")}>
          {t("Save")}
        </button>
        <button type="button" class="sl-button sl-build-button" title={t("Ctrl+Enter")} onClick={() => ask("build")}>
          {t("Build")}
        </button>
      </div>
      {refused && <Problem error={refused} />}
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

/** The lines in colours, with their numbers and marks; what is written on lies over it. */
function Paper({ text, problems }: { text: string; problems: Finding[] }) {
  const marked = new Map([...problems].reverse().map(([line, level]) => [line, level]));
  return (
    <div class="sl-paper sl-code" aria-hidden="true">
      {colour(text).map((tokens, index) => (
        <div key={index} class={marked.has(index + 1) ? `sl-at-${marked.get(index + 1)}` : ""}>
          <span class="sl-no">{index + 1}</span>
          {tokens.map(([part, kind], n) => (kind ? <span key={n} class={`sl-is-${kind}`}>{part}</span> : part))}
        </div>
      ))}
    </div>
  );
}

export default widget(DockerfileEditor, controls + styles, "editor");
