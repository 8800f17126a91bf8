// Builds with their stages and instructions; see stagelens/views/explorer_model.py.

export interface Step {
  line: number;
  text: string;
  added: number;
  changed: number;
  removed: number;
  bytes: number;
}

export interface Stage {
  label: string;
  base: string;
  files: number;
  bytes: number;
  final: boolean;
  instructions: Step[];
}

export interface Build {
  name: string;
  stages: Stage[];
}

/** [build, stage, instruction] */
export type Point = number[];
