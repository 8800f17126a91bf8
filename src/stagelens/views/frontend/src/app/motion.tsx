// A traced request on its way, at the pace that was measured and slowed down for the eye.
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Hop {
  service: string;
  method: string;
  url: string;
  status: number | null;
  start: number;
  seconds: number;
  inside: number | null;
  error: string;
}

/** Milliseconds since the request began, as they are played. */
interface Pace {
  begin: number;
  arrive: number;
  leave: number;
  end: number;
}

const PLAYED = 4000;
const SEEN = 150;

export const failed = (hop: Hop) => hop.status === null || hop.status >= 400;

export function duration(hops: Hop[]): number {
  return Math.max(0.001, ...hops.map((hop) => hop.start + hop.seconds));
}

/** How many times slower than it was a request is played. */
export function slowness(hops: Hop[]): number {
  return PLAYED / 1000 / duration(hops);
}

/** When a call is played. What its service did not work was spent on the way, half of it each; of a call that
 *  was over too soon to be followed, a third. */
export function pace(hop: Hop, hops: Hop[]): Pace {
  const scale = 1000 * slowness(hops);
  const begin = hop.start * scale;
  const length = Math.max(3 * SEEN, hop.seconds * scale);
  const way = ((hop.seconds - (hop.inside ?? 0)) * scale) / 2;
  const travel = Math.min(length / 3, Math.max(SEEN, way));
  return { begin, arrive: begin + travel, leave: begin + length - travel, end: begin + length };
}

function still(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Plays an element's animations once for each request; none where the reader wants no motion. */
export function usePlayed<E extends Element>(request: string, play: (element: E) => void) {
  const ref = useRef<E>(null);
  useLayoutEffect(() => {
    if (!request || !ref.current || still()) return;
    const element = ref.current;
    play(element);
    return () => {
      for (const animation of element.getAnimations()) animation.cancel();
    };
  }, [request]);
  return ref;
}

/** A call on its arrow: a dot that goes, waits while the service works and comes back, then what it brought. */
export function Call({ hop, hops, request }: { hop: Hop; hops: Hop[]; request: string }) {
  const { begin, arrive, leave, end } = pace(hop, hops);
  const length = end - begin;
  const dot = usePlayed<HTMLElement>(request, (element) => {
    const back = hop.status === null ? "100%" : "0%";
    element.animate(
      [
        { left: "0%", opacity: 1 },
        { left: "100%", opacity: 1, offset: (arrive - begin) / length },
        { left: "100%", opacity: 1, offset: (leave - begin) / length },
        { left: back, opacity: hop.status === null ? 0 : 1 },
      ],
      { delay: begin, duration: length },
    );
  });
  const told = usePlayed<HTMLElement>(request, (element) => {
    element.animate([{ opacity: 0 }, { opacity: 0 }], { duration: end });
  });
  const tone = failed(hop) ? "sl-removed" : "sl-added";
  return (
    <>
      <i ref={dot} class={tone} />
      <b ref={told} class={tone}>
        {hop.status ?? "✕"} <span class="sl-soft">{milliseconds(hop.seconds)}</span>
      </b>
    </>
  );
}

export const milliseconds = (value: number) => `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms`;
