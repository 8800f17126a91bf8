// Time that goes on between the kernel's messages.
import { useEffect, useRef, useState } from "preact/hooks";

/** `reported` seconds, and while the clock is running, those that passed since they were reported. */
export function useClock(reported: number, running: boolean): number {
  const [, tick] = useState(0);
  const last = useRef({ reported: -1, when: 0 });
  if (last.current.reported !== reported) last.current = { reported, when: performance.now() };
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => tick((n) => n + 1), 100);
    return () => clearInterval(timer);
  }, [running]);
  return running ? reported + (performance.now() - last.current.when) / 1000 : reported;
}
