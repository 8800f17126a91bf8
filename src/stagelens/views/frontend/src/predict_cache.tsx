// Marks before a build, and what came of them: see stagelens/views/predict.py.
import { seconds } from "./lib/format";
import { Instruction } from "./lib/ui";
import { useTrait, useWords, widget } from "./lib/widget";
import "./predict_cache.css";

interface Question {
  stage: number;
  line: number;
  label: string;
  title: string;
}

interface Result extends Question {
  outcome: "cached" | "ran" | "not reached";
  said: boolean | null;
  right: boolean;
  seconds: number | null;
  why: string;
}

function PredictCache() {
  const { t } = useWords();
  const [questions] = useTrait<Question[]>("questions");
  const [choices, choose] = useTrait<boolean[]>("choices");
  const [result] = useTrait<Result[]>("result");
  const [score] = useTrait<number>("score");
  const asking = score < 0;
  const perfect = score === result.length;
  return (
    <div class="sl-card sl-predict">
      <div class="sl-head">
        <p class="sl-title" role="status">
          {asking
            ? t("Which steps will come from the cache?")
            : t("{right} of {all} right", { right: score, all: result.length })}
        </p>
        {!asking && (
          <span class={`sl-score ${perfect ? "sl-added" : "sl-changed"}`} aria-hidden="true">
            {result.map((row) => (row.right ? "●" : "○")).join("")}
          </span>
        )}
      </div>
      <ol class="sl-marks">
        {asking
          ? questions.map((question, index) => (
              <Ask
                key={index}
                question={question}
                cached={choices[index]}
                choose={(cached) => choose(choices.map((old, n) => (n === index ? cached : old)))}
              />
            ))
          : result.map((row, index) => <Answer key={index} row={row} />)}
      </ol>
    </div>
  );
}

function Where({ row }: { row: Question }) {
  const { t } = useWords();
  return (
    <>
      <Instruction text={row.title} />
      <span class="sl-soft sl-where">
        <span class="sl-lane-label">{row.label}</span> {t("line {line}", { line: row.line })}
      </span>
    </>
  );
}

function Ask(given: { question: Question; cached: boolean; choose(cached: boolean): void }) {
  const { t } = useWords();
  const { question, cached, choose } = given;
  const key = (event: KeyboardEvent) => {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    choose(!cached);
    const group = event.currentTarget as HTMLElement;
    group.querySelectorAll<HTMLElement>("[role=radio]")[cached ? 1 : 0].focus();
  };
  const option = (value: boolean, word: string) => (
    <button
      type="button"
      role="radio"
      aria-checked={cached === value}
      tabIndex={cached === value ? 0 : -1}
      class={value ? "sl-says-cached" : "sl-says-runs"}
      onClick={() => choose(value)}
    >
      {word}
    </button>
  );
  return (
    <li class="sl-mark" style={{ "--sl-stage": `var(--sl-stage-${question.stage % 6})` }}>
      <span class="sl-pair" role="radiogroup" aria-label={question.title} onKeyDown={key}>
        {option(true, "CACHED")}
        {option(false, t("runs"))}
      </span>
      <span class="sl-what">
        <Where row={question} />
      </span>
    </li>
  );
}

function Answer({ row }: { row: Result }) {
  const { t } = useWords();
  const outcomes = { cached: "CACHED", ran: t("ran"), "not reached": t("not reached") };
  const said = row.said === null ? t("no mark") : row.said ? "CACHED" : t("runs");
  return (
    <li
      class={`sl-mark ${row.right ? "sl-right" : "sl-wrong"}`}
      style={{ "--sl-stage": `var(--sl-stage-${row.stage % 6})` }}
    >
      <span class="sl-verdict">
        <b class={row.right ? "sl-added" : "sl-removed"}>
          <span aria-hidden="true">{row.right ? "✓" : "✕"}</span>
          <span class="sl-hidden">{row.right ? t("right") : t("wrong")}</span>
        </b>
        <span class={`sl-badge ${row.outcome === "cached" ? "sl-added" : "sl-changed"}`}>
          {outcomes[row.outcome]}
        </span>
        {row.outcome === "ran" && row.seconds !== null && <span class="sl-soft">{seconds(row.seconds)}</span>}
      </span>
      <span class="sl-what">
        <Where row={row} />
        <span class="sl-why">{row.why}</span>
        {!row.right && <span class="sl-soft">{t("you said: {mark}", { mark: said })}</span>}
      </span>
    </li>
  );
}

export default widget(PredictCache, "predict");
