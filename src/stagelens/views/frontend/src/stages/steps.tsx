// The stages, and the instructions of the selected stage with a slider.
import { Instruction, stageColor } from "../lib/components";
import { size } from "../lib/format";
import { useTranslation } from "../lib/widget";
import type { Build, Point, Stage, Step } from "./model";

function Delta({ step }: { step: Step }) {
  const { t } = useTranslation();
  if (!step.added && !step.changed && !step.removed)
    return <span class="sl-soft sl-delta">{t("no file changes")}</span>;
  const parts: [string, string, number, string][] = [
    ["sl-added", "+", step.added, t("{n} added", { n: step.added })],
    ["sl-changed", "~", step.changed, t("{n} changed", { n: step.changed })],
    ["sl-removed", "−", step.removed, t("{n} removed", { n: step.removed })],
  ];
  return (
    <span class="sl-delta">
      {parts.map(
        ([tone, sign, count, label]) =>
          count > 0 && (
            <span key={tone} class={tone} title={label}>
              <span aria-hidden="true">
                {sign}
                {count.toLocaleString()}
              </span>
              <span class="sl-hidden">{label} </span>
            </span>
          ),
      )}
      <span class="sl-soft">{size(step.bytes)}</span>
    </span>
  );
}

export function Stages(props: { builds: Build[]; point: Point; onSelect(point: Point): void }) {
  const { t, tn } = useTranslation();
  const lastChange = (stage: Stage) => {
    const changing = stage.instructions.map((step, index) =>
      step.added + step.changed + step.removed ? index : 0,
    );
    return Math.max(...changing);
  };
  return (
    <div class="sl-stages" role="group" aria-label={t("Stage")}>
      {props.builds.flatMap((build, b) =>
        build.stages.map((stage, s) => (
          <button
            key={`${b}-${s}`}
            type="button"
            class="sl-stage"
            style={{ "--sl-stage": stageColor(s) }}
            aria-pressed={props.point[0] === b && props.point[1] === s}
            onClick={() => props.onSelect([b, s, lastChange(stage)])}
          >
            <b>{props.builds.length > 1 ? `${build.name}: ${stage.label}` : stage.label}</b>
            {stage.final && <span class="sl-badge">{t("final image")}</span>}
            <span class="sl-soft">
              {tn("{n} file", "{n} files", stage.files)} · {size(stage.bytes)}
            </span>
          </button>
        )),
      )}
    </div>
  );
}

export function Steps(props: { stage: Stage; point: Point; onSelect(point: Point): void }) {
  const { t } = useTranslation();
  const steps = props.stage.instructions;
  const [build, stage, current] = props.point;
  const goTo = (index: number) => props.onSelect([build, stage, index]);
  return (
    <div class="sl-steps" style={{ "--sl-stage": stageColor(stage) }}>
      <label class="sl-slider">
        <span class="sl-soft">
          {t("Instruction {n} of {total}", { n: current + 1, total: steps.length })}
        </span>
        <input
          type="range"
          min={0}
          max={steps.length - 1}
          value={current}
          disabled={steps.length < 2}
          aria-label={t("Instruction")}
          aria-valuetext={t("line {line}: {text}", { line: steps[current].line, text: steps[current].text })}
          onInput={(event) => goTo(Number(event.currentTarget.value))}
        />
      </label>
      <ol aria-label={t("Instructions")}>
        {steps.map((step, index) => (
          <li key={index} class={index === current ? "sl-current" : index < current ? "sl-previous" : ""}>
            <button
              type="button"
              aria-current={index === current ? "step" : undefined}
              onClick={() => goTo(index)}
            >
              <span class="sl-dot" aria-hidden="true" />
              <Instruction text={step.text} />
              <Delta step={step} />
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}
