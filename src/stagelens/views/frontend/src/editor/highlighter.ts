// Syntax highlighting of a Dockerfile. It only colors the text; the kernel's parser finds the problems.

type Token = [text: string, kind: "" | "comment" | "keyword" | "flag" | "string" | "variable" | "heredoc"];

const KEYWORDS =
  /^(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)$/i;
const PART =
  /(--[a-z][\w-]*(?==|\s|$))|("(?:[^"\\]|\\.)*"?|'[^']*'?)|(\$\{[^}]*\}?|\$\w+)|(\s+AS\s+)|([^\s"'$-]+|\s+|.)/gi;

/** The tokens of each line; continuation lines and here-documents belong to the instruction above. */
export function highlight(source: string): Token[][] {
  let continued = false;
  let delimiters: string[] = [];
  return source.split("\n").map((line) => {
    if (delimiters.length) {
      if (line.trim() === delimiters[0]) delimiters.shift();
      return [[line, "heredoc"]];
    }
    if (/^\s*#/.test(line)) return [[line, "comment"]];
    const tokens = continued ? parts(line) : instruction(line);
    const opened = [...line.matchAll(/<<-?\s*["']?(\w+)["']?/g)].map((match) => match[1]);
    if (/^\s*(RUN|COPY|ADD)\b/i.test(line)) delimiters = opened;
    continued = /\\\s*$/.test(line);
    return tokens;
  });
}

function instruction(line: string): Token[] {
  const match = /^(\s*)(\S+)(.*)$/.exec(line);
  if (!match || !KEYWORDS.test(match[2])) return parts(line);
  const rest = match[2].toUpperCase() === "ONBUILD" ? instruction(match[3]) : parts(match[3]);
  return [[match[1], ""], [match[2], "keyword"], ...rest];
}

function parts(text: string): Token[] {
  return [...text.matchAll(PART)].map(([whole, flag, quoted, variable, as]): Token => {
    if (flag) return [whole, "flag"];
    if (quoted) return [whole, "string"];
    if (variable) return [whole, "variable"];
    return [whole, as ? "keyword" : ""];
  });
}
