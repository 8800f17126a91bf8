// The graph of the stages: an arrow for each COPY --from, and a stage to the right of those that it copies from.
import { stageColor } from "../lib/components";
import { useTranslation, useUniqueId } from "../lib/widget";
import type { Edge, Outline, Stage, Step } from "./model";

const WIDTH = 150;
const HEIGHT = 50;
const GAP = 190;
const SPACE = 26;
const PAD = 8;

interface Node {
  id: number | string;
  label: string;
  base: string;
  stage?: number;
  column: number;
  row: number;
}

/** Nodes for the needed stages and for the images that they copy from. A node is to the right of all its sources. It
 *  takes the row of a source that has no other target, or else a new row, so that an arrow can run along the row of
 *  its source without crossing a node. */
export function layout(stages: Stage[], edges: Edge[]): Node[] {
  const shown = edges.filter((edge) => stages[edge.target].needed);
  const images = [...new Set(shown.map((edge) => edge.source))].filter(
    (source) => typeof source === "string",
  );
  const ids: (number | string)[] = [...images, ...stages.map((_, n) => n).filter((n) => stages[n].needed)];
  const nodes: Node[] = [];
  let rows = 0;
  for (const id of ids) {
    const sources = shown
      .filter((edge) => edge.target === id)
      .flatMap((edge) => nodes.filter((n) => n.id === edge.source));
    const column = sources.length ? Math.max(...sources.map((node) => node.column)) + 1 : 0;
    const targetCount = (node: Node) =>
      new Set(shown.filter((e) => e.source === node.id).map((e) => e.target)).size;
    const predecessor = sources.find(
      (node) => targetCount(node) === 1 && !nodes.some((n) => n.row === node.row && n.column > node.column),
    );
    const stage = typeof id === "number" ? stages[id] : undefined;
    const labels = { label: stage ? stage.label : String(id), base: stage ? stage.base : "" };
    nodes.push({
      id,
      ...labels,
      stage: stage && (id as number),
      column,
      row: predecessor ? predecessor.row : rows++,
    });
  }
  return nodes;
}

export function Graph({ outline, steps }: { outline: Outline; steps: Step[] }) {
  const { t } = useTranslation();
  const arrowhead = useUniqueId("sl-arrow");
  const { stages = [], edges = [] } = outline;
  if (!edges.length) return null;
  const nodes = layout(stages, edges);
  const columns = Math.max(...nodes.map((node) => node.column)) + 1;
  const rows = Math.max(...nodes.map((node) => node.row)) + 1;
  const width = columns * WIDTH + (columns - 1) * GAP + 2 * PAD;
  const height = rows * HEIGHT + (rows - 1) * SPACE + 2 * PAD;
  const left = (node: Node) => PAD + node.column * (WIDTH + GAP);
  const top = (node: Node) => PAD + node.row * (HEIGHT + SPACE);
  const find = (id: number | string) => nodes.find((node) => node.id === id);
  const descriptions = edges.flatMap((edge) => {
    const [source, target] = [find(edge.source), find(edge.target)];
    return source && target ? [`${source.label} → ${target.label}: ${edge.label}`] : [];
  });
  return (
    <div class="sl-graph" tabIndex={0} role="region" aria-label={t("Stage graph")}>
      <svg
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={descriptions.join("; ")}
      >
        <defs>
          <marker
            id={arrowhead}
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="7"
            markerHeight="7"
            orient="auto"
          >
            <path d="M0 0 8 4 0 8z" class="sl-arrow" />
          </marker>
        </defs>
        {edges.map((edge, index) => {
          const [source, target] = [find(edge.source), find(edge.target)];
          if (!source || !target) return null;
          const outward = spread(
            edges.filter((other) => other.source === edge.source),
            edge,
            17,
          );
          const arriving = edges.filter((other) => other.target === edge.target);
          arriving.sort((a, b) => (find(a.source)?.row ?? 0) - (find(b.source)?.row ?? 0));
          const inward = spread(arriving, edge, 9);
          return (
            <Arrow
              key={index}
              edge={edge}
              arrowhead={arrowhead}
              from={[left(source) + WIDTH, top(source) + HEIGHT / 2 + outward]}
              to={[left(target), top(target) + HEIGHT / 2 + inward]}
            />
          );
        })}
        {nodes.map((node) => (
          <NodeBox
            key={node.id}
            node={node}
            x={left(node)}
            y={top(node)}
            steps={steps}
            final={outline.target}
          />
        ))}
      </svg>
    </div>
  );
}

/** How far above or below the middle of a node one of its several edges begins or ends. */
function spread(edges: Edge[], edge: Edge, space: number): number {
  return (edges.indexOf(edge) - (edges.length - 1) / 2) * Math.min(space, (HEIGHT - 8) / edges.length);
}

function Arrow(props: { edge: Edge; arrowhead: string; from: number[]; to: number[] }) {
  const {
    edge,
    arrowhead,
    from: [x1, y1],
    to: [x2, y2],
  } = props;
  const turn = x2 - 58;
  const label = edge.label.length > 17 ? `${edge.label.slice(0, 16)}…` : edge.label;
  return (
    <g class={`sl-edge sl-edge-${edge.kind}`}>
      <path
        d={`M${x1} ${y1}H${turn}C${turn + 36} ${y1} ${x2 - 40} ${y2} ${x2 - 3} ${y2}`}
        marker-end={`url(#${arrowhead})`}
      />
      <text x={x1 + 8} y={y1 - 4}>
        <title>{edge.label}</title>
        {label}
      </text>
    </g>
  );
}

function NodeBox(props: { node: Node; x: number; y: number; steps: Step[]; final?: number }) {
  const { node, x, y } = props;
  const { t } = useTranslation();
  const steps = props.steps.filter((step) => node.stage !== undefined && step.stage === node.stage);
  const ended = steps.filter((step) => step.state === "done" || step.state === "cached").length;
  const running = steps.some((step) => step.state === "running");
  const failed = steps.some((step) => step.state === "failed");
  const color = node.stage === undefined ? "var(--sl-soft)" : stageColor(node.stage);
  const cut = (text: string, length: number) =>
    text.length > length ? `${text.slice(0, length - 1)}…` : text;
  const below = node.stage === props.final ? t("final image") : cut(node.base, 22);
  return (
    <g
      class={`sl-node${running ? " sl-node-running" : ""}${failed ? " sl-node-failed" : ""}`}
      style={{ "--sl-stage": color }}
    >
      <title>{`${node.label} ${node.base}`}</title>
      <rect x={x} y={y} width={WIDTH} height={HEIGHT} rx="9" />
      <rect class="sl-part" x={x + 10} y={y + HEIGHT - 8} width={WIDTH - 20} height="3" rx="1.5" />
      {steps.length > 0 && (
        <rect
          class="sl-fill"
          x={x + 10}
          y={y + HEIGHT - 8}
          width={((WIDTH - 20) * ended) / steps.length}
          height="3"
          rx="1.5"
        />
      )}
      <text class="sl-node-label" x={x + 12} y={y + 19}>
        {cut(node.label, 18)}
      </text>
      <text class="sl-node-base" x={x + 12} y={y + 34}>
        {below}
      </text>
    </g>
  );
}
