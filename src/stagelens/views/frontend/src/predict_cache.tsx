// Predictions of which steps come from the cache, and their results; see stagelens/views/predict_cache.py.
import { Instruction, stageColor } from "./lib/components";
import { seconds } from "./lib/format";
import { useTrait, useTranslation, widget } from "./lib/widget";
import "./predict_cache.css";

interface Question {
  stage: number;
  line: number;
  label: string;
  title: string;
}

interface Result extends Question {
  outcome: "cached" | "ran" | "not reached";
  predicted: boolean | null;
  right: boolean;
  seconds: number | null;
  why: string;
}

function PredictCache() {
  const { t } = useTranslation();
  const [questions] = useTrait<Question[]>("questions");
  const [choices, setChoices] = useTrait<boolean[]>("choices");
  const [result] = useTrait<Result[]>("result");
  const [score] = useTrait<number>("score");
  const open = score < 0;
  const perfect = score === result.length;
  return (
    <div class="sl-card sl-predict">
      <div class="sl-head">
        <p class="sl-title" role="status">
          {open
            ? t("Which steps will come from the cache?")
            : t("{right} of {all} right", { right: score, all: result.length })}
        </p>
        {!open && (
          <span class={`sl-score ${perfect ? "sl-added" : "sl-changed"}`} aria-hidden="true">
            {result.map((row) => (row.right ? "●" : "○")).join("")}
          </span>
        )}
      </div>
      <ol class="sl-marks">
        {open
          ? questions.map((question, index) => (
              <QuestionRow
                key={index}
                question={question}
                cached={choices[index]}
                onSelect={(cached) => setChoices(choices.map((old, n) => (n === index ? cached : old)))}
              />
            ))
          : result.map((row, index) => <ResultRow key={index} row={row} />)}
      </ol>
    </div>
  );
}

function Step({ row }: { row: Question }) {
  const { t } = useTranslation();
  return (
    <>
      <Instruction text={row.title} />
      <span class="sl-soft sl-location">
        <span class="sl-lane-label">{row.label}</span> {t("line {line}", { line: row.line })}
      </span>
    </>
  );
}

function QuestionRow(props: { question: Question; cached: boolean; onSelect(cached: boolean): void }) {
  const { t } = useTranslation();
  const { question, cached, onSelect } = props;
  const onKeyDown = (event: KeyboardEvent) => {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    onSelect(!cached);
    const group = event.currentTarget as HTMLElement;
    group.querySelectorAll<HTMLElement>("[role=radio]")[cached ? 1 : 0].focus();
  };
  const option = (value: boolean, label: string) => (
    <button
      type="button"
      role="radio"
      aria-checked={cached === value}
      tabIndex={cached === value ? 0 : -1}
      class={value ? "sl-option-cached" : "sl-option-runs"}
      onClick={() => onSelect(value)}
    >
      {label}
    </button>
  );
  return (
    <li class="sl-mark" style={{ "--sl-stage": stageColor(question.stage) }}>
      <span class="sl-options" role="radiogroup" aria-label={question.title} onKeyDown={onKeyDown}>
        {option(true, "CACHED")}
        {option(false, t("runs"))}
      </span>
      <span class="sl-details">
        <Step row={question} />
      </span>
    </li>
  );
}

function ResultRow({ row }: { row: Result }) {
  const { t } = useTranslation();
  const outcomes = { cached: "CACHED", ran: t("ran"), "not reached": t("not reached") };
  const prediction = row.predicted === null ? t("no mark") : row.predicted ? "CACHED" : t("runs");
  return (
    <li
      class={`sl-mark ${row.right ? "sl-right" : "sl-wrong"}`}
      style={{ "--sl-stage": stageColor(row.stage) }}
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
      <span class="sl-details">
        <Step row={row} />
        <span class="sl-reason">{row.why}</span>
        {!row.right && <span class="sl-soft">{t("you said: {mark}", { mark: prediction })}</span>}
      </span>
    </li>
  );
}

export default widget(PredictCache, "predict");
