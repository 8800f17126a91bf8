// The sizes of stages and images side by side, by purpose; see stagelens/views/size_compare.py.
import { hierarchy, treemap, treemapSquarify } from "d3-hierarchy";
import { size } from "./lib/format";
import { useTrait, useTranslation, widget } from "./lib/widget";
import "./size_compare.css";

type Category = "base" | "dependencies" | "tools" | "app";

/** category, folder ("" for the rest), bytes */
type Group = [Category, string, number];

interface Subject {
  name: string;
  size: number;
  files: number;
  sizes: Record<Category, number>;
  groups: Group[];
  stage: number | null;
  final: boolean;
}

const CATEGORIES: Category[] = ["base", "dependencies", "tools", "app"];
const WIDTH = 1000;
const HEIGHT = 300;

function useCategoryLabels(): Record<Category, string> {
  const { t } = useTranslation();
  return {
    base: t("base image"),
    dependencies: t("dependencies"),
    tools: t("build tools"),
    app: t("app"),
  };
}

function SizeCompare() {
  const { t } = useTranslation();
  const [subjects] = useTrait<Subject[]>("subjects");
  const [selected, select] = useTrait<number>("selected");
  if (!subjects.length) return <p>{t("Nothing to compare.")}</p>;
  const index = Math.min(selected, subjects.length - 1);
  return (
    <div class="sl-card sl-sizes">
      <div class="sl-head">
        <p class="sl-title">{t("Size by purpose")}</p>
        <Legend />
      </div>
      <Bars subjects={subjects} selected={index} onSelect={select} />
      <TreeMap subject={subjects[index]} />
    </div>
  );
}

function Legend() {
  const labels = useCategoryLabels();
  return (
    <ul class="sl-legend">
      {CATEGORIES.map((category) => (
        <li key={category}>
          <span class={`sl-swatch sl-for-${category}`} aria-hidden="true" /> {labels[category]}
        </li>
      ))}
    </ul>
  );
}

function Bars({
  subjects,
  selected,
  onSelect,
}: {
  subjects: Subject[];
  selected: number;
  onSelect(index: number): void;
}) {
  const { t } = useTranslation();
  const labels = useCategoryLabels();
  const largest = Math.max(1, ...subjects.map((subject) => subject.size));
  const factor = (subject: Subject) => {
    const times = subject.size ? largest / subject.size : 0;
    return times >= 1.5
      ? t("{n} times smaller", { n: times < 10 ? times.toFixed(1) : Math.round(times) })
      : "";
  };
  return (
    <div class="sl-bars" role="group" aria-label={t("Stages and images")}>
      {subjects.map((subject, index) => (
        <button key={index} type="button" aria-pressed={index === selected} onClick={() => onSelect(index)}>
          <span class="sl-bar-name">
            <b>{subject.name}</b> {subject.final && <span class="sl-badge">{t("final image")}</span>}
          </span>
          <span class="sl-size">{size(subject.size)}</span>
          <span class="sl-rail" aria-hidden="true">
            {CATEGORIES.map((category) => (
              <span
                key={category}
                class={`sl-for-${category}`}
                style={{ width: `${(100 * subject.sizes[category]) / largest}%` }}
              />
            ))}
            <span class="sl-factor">{factor(subject)}</span>
          </span>
          <span class="sl-hidden">
            {CATEGORIES.map((category) => `${labels[category]} ${size(subject.sizes[category])}`).join(", ")}
          </span>
        </button>
      ))}
    </div>
  );
}

interface Node {
  group?: Group;
  children?: Node[];
}

/** The folders of a subject as areas, grouped by category. */
function TreeMap({ subject }: { subject: Subject }) {
  const { t } = useTranslation();
  const labels = useCategoryLabels();
  const root: Node = {
    children: CATEGORIES.map((category) => ({
      children: subject.groups.filter((group) => group[0] === category).map((group) => ({ group })),
    })).filter((node) => node.children.length),
  };
  const sized = hierarchy(root, (node) => node.children)
    .sum((node) => node.group?.[2] ?? 0)
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const areas = treemap<Node>()
    .tile(treemapSquarify)
    .size([WIDTH, HEIGHT])
    .paddingInner(2)
    .paddingOuter(1)(sized)
    .leaves();
  const folder = (group: Group) => (group[1] ? `/${group[1]}` : t("other files"));
  const percent = (value: number) => `${((100 * value) / Math.max(1, subject.size)).toFixed(1)} %`;
  return (
    <section class="sl-map" aria-label={t("Folders of {name}", { name: subject.name })}>
      <div class="sl-areas" aria-hidden="true" style={{ height: `${HEIGHT}px` }}>
        {areas.map(({ x0, x1, y0, y1, data: { group } }, index) => {
          if (!group || x1 - x0 < 3 || y1 - y0 < 3) return null;
          const hasRoom = x1 - x0 > 70 && y1 - y0 > 32;
          return (
            <div
              key={index}
              class={`sl-area sl-for-${group[0]}`}
              title={`${folder(group)} · ${size(group[2])} · ${labels[group[0]]}`}
              style={{
                left: `${(100 * x0) / WIDTH}%`,
                top: `${y0}px`,
                width: `${(100 * (x1 - x0)) / WIDTH}%`,
                height: `${y1 - y0}px`,
              }}
            >
              {hasRoom && (
                <>
                  <b class="sl-code">{folder(group)}</b>
                  <span>{size(group[2])}</span>
                </>
              )}
            </div>
          );
        })}
      </div>
      <details>
        <summary>{t("Folders of {name} as a table", { name: subject.name })}</summary>
        <table class="sl-table">
          <thead>
            <tr>
              <th scope="col">{t("folder")}</th>
              <th scope="col">{t("purpose")}</th>
              <th scope="col">{t("size")}</th>
              <th scope="col">{t("share")}</th>
            </tr>
          </thead>
          <tbody>
            {subject.groups.map((group, index) => (
              <tr key={index}>
                <td>
                  <code class="sl-code sl-path">{folder(group)}</code>
                </td>
                <td>{labels[group[0]]}</td>
                <td class="sl-number">{size(group[2])}</td>
                <td class="sl-number">{percent(group[2])}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </section>
  );
}

export default widget(SizeCompare, "sizes");
