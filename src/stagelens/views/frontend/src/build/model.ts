// A build as the kernel describes it; see stagelens/views/build_model.py.
import { useEffect, useRef, useState } from "preact/hooks";
import { useChannel } from "../lib/widget";

/** An instruction of the Dockerfile. */
export interface PlannedStep {
  line: number;
  text: string;
  runs: boolean;
}

export interface Stage {
  label: string;
  base: string;
  needed: boolean;
  steps: PlannedStep[];
}

export interface Edge {
  source: number | string;
  target: number;
  kind: string;
  label: string;
}

export interface Outline {
  stages?: Stage[];
  edges?: Edge[];
  target?: number;
}

export type State = "waiting" | "running" | "cached" | "done" | "failed" | "stopped";

export interface Step {
  id: string;
  name: string;
  stage: number | null;
  instruction: number | null;
  state: State;
  start: number | null;
  seconds: number | null;
  lines: number;
  critical: boolean;
}

export interface Totals {
  steps?: number;
  waiting?: number;
  running?: number;
  cached?: number;
  done?: number;
  failed?: number;
  work?: number;
  seconds?: number;
  sent?: number;
}

/** stream, text, coloured parts */
export type Line = [number, string, [number, number, string][]];

interface Chunk {
  id: string;
  start: number;
  lines: Line[];
  total: number;
}

/** The lines of the step's log: those that arrive while it runs, and the rest by request. */
export function useLog(step: Step | undefined): Line[] {
  const channel = useChannel();
  const logs = useRef(new Map<string, Line[]>());
  const [, redraw] = useState(0);
  const requested = useRef(new Set<string>());

  const add = (chunk: Chunk) => {
    const lines = logs.current.get(chunk.id) ?? [];
    // After a gap (this page was opened later), the missing lines are requested below.
    if (chunk.start <= lines.length) {
      logs.current.set(chunk.id, [...lines.slice(0, chunk.start), ...chunk.lines]);
      redraw((n) => n + 1);
    }
  };
  useEffect(() => channel.listen("log", add), [channel]);

  const loaded = step ? (logs.current.get(step.id)?.length ?? 0) : 0;
  useEffect(() => {
    if (!step || loaded >= step.lines || requested.current.has(step.id)) return;
    requested.current.add(step.id);
    const { id } = step;
    channel
      .request<Omit<Chunk, "id">>("log", { step: id, start: loaded })
      .then((answer) => {
        requested.current.delete(id);
        add({ ...answer, id });
      })
      .catch(() => requested.current.delete(id));
  }, [step?.id, step?.lines, loaded]);
  return (step && logs.current.get(step.id)) || [];
}
