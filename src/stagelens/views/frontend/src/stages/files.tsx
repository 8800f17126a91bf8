// The file tree of a point, compared with another point.
import { useState } from "preact/hooks";
import { FileTree } from "../lib/tree/file_tree";
import { useTranslation } from "../lib/widget";
import type { Build, Point } from "./model";

interface Props {
  builds: Build[];
  point: Point;
  against: Point;
  path: string;
  onCompare(point: Point): void;
  onSelect(path: string): void;
}

export function Files(props: Props) {
  const { t } = useTranslation();
  const [show, setShow] = useState("all");
  const final = props.builds[props.point[0]].stages[props.point[1]].final;
  // The final image leaves nothing behind: the choice is offered for the other stages only.
  const shown = show === "left-behind" && final ? "all" : show;
  const options: [string, string][] = [
    ["all", t("All files")],
    ["changes", t("Only changes")],
  ];
  if (!final) options.push(["left-behind", t("Left behind")]);
  return (
    <FileTree
      query={{ point: props.point, against: props.against.length ? props.against : null, show: shown }}
      shown={shown}
      options={options}
      onShow={setShow}
      height={408}
      summary={(totals) =>
        shown === "left-behind" ? t("Not in the final image: {summary}", { summary: totals }) : totals
      }
      path={props.path}
      onSelect={props.onSelect}
    >
      <CompareWith {...props} />
    </FileTree>
  );
}

/** Selects what the point is compared with: the previous instruction, or any point of any build. */
function CompareWith({ builds, point, against, onCompare }: Props) {
  const { t } = useTranslation();
  return (
    <label class="sl-against">
      <span class="sl-soft">{t("Compare with")}</span>
      <select
        class="sl-input"
        value={against.length ? JSON.stringify(against) : ""}
        onChange={(event) =>
          onCompare(event.currentTarget.value ? JSON.parse(event.currentTarget.value) : [])
        }
      >
        <option value="">{t("the previous instruction")}</option>
        {builds.map((build, b) =>
          build.stages.map((stage, s) => (
            <optgroup
              key={`${b}-${s}`}
              label={builds.length > 1 ? `${build.name}: ${stage.label}` : stage.label}
            >
              {stage.instructions.map((step, i) => {
                const value = JSON.stringify([b, s, i]);
                return (
                  <option key={value} value={value} disabled={value === JSON.stringify(point)}>
                    {`${step.line}: ${step.text.slice(0, 60)}`}
                  </option>
                );
              })}
            </optgroup>
          )),
        )}
      </select>
    </label>
  );
}
