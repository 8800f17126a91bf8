// A build as the kernel tells it; see stagelens/views/progress.py.
import { useEffect, useRef, useState } from "preact/hooks";
import { useChannel } from "../lib/widget";

interface Planned {
  line: number;
  text: string;
  runs: boolean;
}

export interface Stage {
  label: string;
  base: string;
  needed: boolean;
  steps: Planned[];
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

/** Seconds since the build began, going on between the kernel's messages while it runs. */
export function useClock(told: number, runs: boolean): number {
  const [, tick] = useState(0);
  const at = useRef({ told: -1, when: 0 });
  if (at.current.told !== told) at.current = { told, when: performance.now() };
  useEffect(() => {
    if (!runs) return;
    const timer = setInterval(() => tick((n) => n + 1), 100);
    return () => clearInterval(timer);
  }, [runs]);
  return runs ? told + (performance.now() - at.current.when) / 1000 : told;
}

/** The lines of the step's log: those that come while it runs, and the rest asked for. */
export function useLog(step: Step | undefined): Line[] {
  const channel = useChannel();
  const kept = useRef(new Map<string, Line[]>());
  const [, redraw] = useState(0);
  const asking = useRef(new Set<string>());

  const take = (chunk: Chunk) => {
    const lines = kept.current.get(chunk.id) ?? [];
    // Lines that do not join on were missed (a page that was opened later): they are asked for below.
    if (chunk.start <= lines.length) {
      kept.current.set(chunk.id, [...lines.slice(0, chunk.start), ...chunk.lines]);
      redraw((n) => n + 1);
    }
  };
  useEffect(() => channel.listen("log", take), [channel]);

  const have = step ? (kept.current.get(step.id)?.length ?? 0) : 0;
  useEffect(() => {
    if (!step || have >= step.lines || asking.current.has(step.id)) return;
    asking.current.add(step.id);
    const { id } = step;
    channel
      .request<Omit<Chunk, "id">>("log", { step: id, start: have })
      .then((answer) => {
        asking.current.delete(id);
        take({ ...answer, id });
      })
      .catch(() => asking.current.delete(id));
  }, [step?.id, step?.lines, have]);
  return (step && kept.current.get(step.id)) || [];
}
