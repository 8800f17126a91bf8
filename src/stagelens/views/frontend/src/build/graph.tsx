// What flows between the stages: a column for each step away from the start, an arrow for each COPY --from.
import { useUnique, useWords } from "../lib/widget";
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

/** Nodes for the stages in use and the images copied from. A node is to the right of all that flow into it, and
 *  has its row to itself, or goes on in the row of the only one that flows into nothing else: so an arrow runs
 *  along its source's row and meets nobody. */
export function layout(stages: Stage[], edges: Edge[]): Node[] {
  const shown = edges.filter((edge) => stages[edge.target].needed);
  const images = [...new Set(shown.map((edge) => edge.source))].filter(
    (source) => typeof source === "string",
  );
  const ids: (number | string)[] = [...images, ...stages.map((_, n) => n).filter((n) => stages[n].needed)];
  const nodes: Node[] = [];
  let rows = 0;
  for (const id of ids) {
    const before = shown
      .filter((edge) => edge.target === id)
      .flatMap((edge) => nodes.filter((n) => n.id === edge.source));
    const column = before.length ? Math.max(...before.map((node) => node.column)) + 1 : 0;
    const onward = (node: Node) =>
      new Set(shown.filter((e) => e.source === node.id).map((e) => e.target)).size;
    const led = before.find(
      (node) => onward(node) === 1 && !nodes.some((n) => n.row === node.row && n.column > node.column),
    );
    const stage = typeof id === "number" ? stages[id] : undefined;
    const words = { label: stage ? stage.label : String(id), base: stage ? stage.base : "" };
    nodes.push({ id, ...words, stage: stage && (id as number), column, row: led ? led.row : rows++ });
  }
  return nodes;
}

export function Graph({ outline, steps }: { outline: Outline; steps: Step[] }) {
  const { t } = useWords();
  const head = useUnique("sl-arrow");
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
  const told = edges.flatMap((edge) => {
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
        aria-label={told.join("; ")}
      >
        <defs>
          <marker
            id={head}
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
          const out = spread(
            edges.filter((other) => other.source === edge.source),
            edge,
            17,
          );
          const arriving = edges.filter((other) => other.target === edge.target);
          arriving.sort((a, b) => (find(a.source)?.row ?? 0) - (find(b.source)?.row ?? 0));
          const into = spread(arriving, edge, 9);
          return (
            <Arrow
              key={index}
              edge={edge}
              head={head}
              from={[left(source) + WIDTH, top(source) + HEIGHT / 2 + out]}
              to={[left(target), top(target) + HEIGHT / 2 + into]}
            />
          );
        })}
        {nodes.map((node) => (
          <Box key={node.id} node={node} x={left(node)} y={top(node)} steps={steps} final={outline.target} />
        ))}
      </svg>
    </div>
  );
}

/** Where one of several edges at a node begins or ends, above or below its middle. */
function spread(edges: Edge[], edge: Edge, space: number): number {
  return (edges.indexOf(edge) - (edges.length - 1) / 2) * Math.min(space, (HEIGHT - 8) / edges.length);
}

function Arrow(given: { edge: Edge; head: string; from: number[]; to: number[] }) {
  const {
    edge,
    head,
    from: [x1, y1],
    to: [x2, y2],
  } = given;
  const turn = x2 - 58;
  const label = edge.label.length > 17 ? `${edge.label.slice(0, 16)}…` : edge.label;
  return (
    <g class={`sl-edge sl-edge-${edge.kind}`}>
      <path
        d={`M${x1} ${y1}H${turn}C${turn + 36} ${y1} ${x2 - 40} ${y2} ${x2 - 3} ${y2}`}
        marker-end={`url(#${head})`}
      />
      <text x={x1 + 8} y={y1 - 4}>
        <title>{edge.label}</title>
        {label}
      </text>
    </g>
  );
}

function Box(given: { node: Node; x: number; y: number; steps: Step[]; final?: number }) {
  const { node, x, y } = given;
  const { t } = useWords();
  const mine = given.steps.filter((step) => node.stage !== undefined && step.stage === node.stage);
  const ended = mine.filter((step) => step.state === "done" || step.state === "cached").length;
  const runs = mine.some((step) => step.state === "running");
  const failed = mine.some((step) => step.state === "failed");
  const colour = node.stage === undefined ? "var(--sl-soft)" : `var(--sl-stage-${node.stage % 6})`;
  const cut = (words: string, length: number) =>
    words.length > length ? `${words.slice(0, length - 1)}…` : words;
  const below = node.stage === given.final ? t("final image") : cut(node.base, 22);
  return (
    <g
      class={`sl-node${runs ? " sl-runs" : ""}${failed ? " sl-broken" : ""}`}
      style={{ "--sl-stage": colour }}
    >
      <title>{`${node.label} ${node.base}`}</title>
      <rect x={x} y={y} width={WIDTH} height={HEIGHT} rx="9" />
      <rect class="sl-part" x={x + 10} y={y + HEIGHT - 8} width={WIDTH - 20} height="3" rx="1.5" />
      {mine.length > 0 && (
        <rect
          class="sl-fill"
          x={x + 10}
          y={y + HEIGHT - 8}
          width={((WIDTH - 20) * ended) / mine.length}
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
