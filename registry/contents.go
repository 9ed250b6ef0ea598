package registry

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// contents checks what is in a version's files.
func (c *moduleCheck) contents(ctx context.Context, m *schema.ModuleVersion, tree *snapshot.Tree) error {
	files := tree.Files()
	for _, f := range files {
		if top, _, _ := strings.Cut(f, "/"); top == "inputs" || top == "outputs" {
			c.diags.Add(m.File, m.Snapshot.Pos, schema.RuleReserved, "rename it", "the snapshot holds %q, where a step's %s stand", f, top)
			break
		}
	}
	if m.Run == nil || m.Run.Environment.Python == nil || m.Run.Environment.Python.Requirements.Value == "" {
		return nil
	}
	req := m.Run.Environment.Python.Requirements
	if !slices.Contains(files, req.Value) {
		c.diags.Add(m.File, req.Pos, schema.RuleRequirements, schema.DidYouMean(req.Value, files), "the snapshot has no file %q", req.Value)
		return nil
	}
	data, err := tree.ReadFile(ctx, req.Value, maxRequirements+1)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", req.Value, err)
	}
	for _, p := range UnpinnedRequirements(bytes.NewReader(data)) {
		c.diags.Add(m.File, req.Pos, schema.RuleRequirements, "pin it: NAME==VERSION --hash=sha256:… (pip-compile --generate-hashes and uv pip compile --generate-hashes write them)",
			"%s: %s", req.Value, p)
	}
	return nil
}

// maxRequirements bounds a file of requirements, in bytes.
const maxRequirements = 8 << 20

var pinned = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*===?\s*[^\s*;,]+\s*(;.*)?$`)

// UnpinnedRequirements lists the lines of a requirements file that do not pin
// a package with == and a hash.
func UnpinnedRequirements(r io.Reader) []string {
	var out []string
	read := &io.LimitedReader{R: r, N: maxRequirements + 1}
	s := bufio.NewScanner(read)
	s.Buffer(nil, 1<<20)
	line, logical := 0, ""
	for more := true; more; {
		// The end also ends a line that was to go on.
		more = s.Scan()
		line++
		text := s.Text()
		if i := strings.Index(text, " #"); i >= 0 {
			text = text[:i]
		}
		text = strings.TrimSpace(text)
		if rest, goesOn := strings.CutSuffix(text, "\\"); goesOn && more {
			logical += rest + " "
			continue
		}
		text, logical = strings.TrimSpace(logical+text), ""
		if text == "" || text[0] == '#' || strings.HasPrefix(text, "--require-hashes") || strings.HasPrefix(text, "--only-binary") {
			continue
		}
		spec, hashes, _ := strings.Cut(text, "--hash=")
		switch {
		case text[0] == '-':
			out = append(out, fmt.Sprintf("line %d: %q makes the environment depend on more than this file", line, text))
		case !pinned.MatchString(strings.TrimSpace(spec)):
			out = append(out, fmt.Sprintf("line %d: %q is not pinned with ==", line, strings.TrimSpace(spec)))
		case !strings.HasPrefix(hashes, "sha256:"):
			out = append(out, fmt.Sprintf("line %d: %q has no hash", line, strings.TrimSpace(spec)))
		}
	}
	if s.Err() != nil || read.N == 0 {
		out = append(out, fmt.Sprintf("line %d: the file or a line of it is too long", line))
	}
	return out
}
