package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// The verdicts of a check against a base.
const (
	verdictGood     = "good"
	verdictProblems = "problems"
	verdictLook     = "look" // good, but a maintainer must look first
)

// review is what a check against a base says to those who review a change.
type review struct {
	Verdict     string             `json:"verdict"`
	Diagnostics schema.Diagnostics `json:"diagnostics"`
	Look        []registry.Reason  `json:"look"`
	Versions    []newVersion       `json:"versions"`
	Changed     []changedModule    `json:"changed"`
	Commit      string             `json:"-"` // of the pull request

	tested []string // modules whose tests differ, and which have no new version
}

// newVersion is a version that the base does not have.
type newVersion struct {
	Module   string                `json:"module"`
	Version  string                `json:"version"`
	From     string                `json:"from,omitempty"`
	Least    registry.Bump         `json:"least"`
	Chosen   registry.Bump         `json:"chosen"`
	Changes  []registry.Change     `json:"changes"`
	Source   []registry.FileChange `json:"source"` // files that differ, where both sources are here
	Owners   []string              `json:"owners"`
	Affected []use                 `json:"affected"`
}

// changedModule is a module whose default or states the base has otherwise.
type changedModule struct {
	Module   string                 `json:"module"`
	Changes  []registry.Restatement `json:"changes"`
	Affected []use                  `json:"affected"` // what gets another version than before, or none
}

// review judges what a check has found.
func (a *app) review(ctx context.Context, res *registry.Checked) (*review, error) {
	diags := res.Diagnostics
	r := &review{Verdict: verdictGood, Diagnostics: append(schema.Diagnostics{}, diags...), Look: append([]registry.Reason{}, res.Look...), Versions: []newVersion{}, Changed: []changedModule{}}
	switch {
	case diags.Errors() > 0:
		r.Verdict = verdictProblems
	case len(res.Look) > 0:
		r.Verdict = verdictLook
	}
	for _, name := range res.Tested {
		if !slices.ContainsFunc(res.Added, func(a registry.Addition) bool { return a.Module == name }) {
			r.tested = append(r.tested, name)
		}
	}
	for _, add := range res.Added {
		v, err := a.addition(ctx, res.Registry, add, diags.Errors() == 0)
		if err != nil {
			return nil, err
		}
		r.Versions = append(r.Versions, v)
	}
	for _, m := range res.Restated {
		c := changedModule{m.Module, m.Changes, []use{}}
		if diags.Errors() == 0 {
			affected, err := a.affected(ctx, res.Registry, m.Before, func(now string) bool {
				return !slices.ContainsFunc(res.Added, func(a registry.Addition) bool { return a.Module == m.Module && a.Version == now })
			})
			if err != nil {
				return nil, err
			}
			c.Affected = append(c.Affected, affected...)
		}
		r.Changed = append(r.Changed, c)
	}
	return r, nil
}

func (a *app) addition(ctx context.Context, reg *registry.Registry, add registry.Addition, good bool) (newVersion, error) {
	v := newVersion{
		Module: add.Module, Version: add.Version, From: add.From, Least: add.Least, Chosen: add.Chosen,
		Changes: append([]registry.Change{}, add.Difference.Changes...), Source: []registry.FileChange{}, Owners: []string{}, Affected: []use{},
	}
	m, _, err := reg.Module(add.Module)
	if err != nil {
		return v, err
	}
	v.Owners = append(v.Owners, m.Owners...)
	if !good {
		return v, nil // what is affected by problems is of no interest
	}
	if from, ok := m.Version(add.From); ok && add.Before != nil && add.Before.Run != nil && add.Manifest.Run != nil {
		if to, ok := m.Version(add.Version); ok && !sameSource(add.Before, add.Manifest) {
			f, err := a.fetcher()
			if err != nil {
				return v, err
			}
			v.Source = append(v.Source, registry.SourceChanges(ctx, from, to, f)...)
		}
	}
	affected, err := a.affected(ctx, reg, m.Without(add.Version), func(now string) bool { return now == add.Version })
	v.Affected = append(v.Affected, affected...)
	return v, err
}

func sameSource(a, b *schema.ModuleVersion) bool {
	return a.Snapshot != nil && b.Snapshot != nil && a.Snapshot.Digest == b.Snapshot.Digest && a.Snapshot.Digest != ""
}

// print tells a person at a terminal.
func (r *review) print(a *app) {
	for _, v := range r.Versions {
		if v.From == "" {
			a.say("new: %s@%s, the first version", v.Module, v.Version)
		} else {
			a.say("new: %s@%s, a %s step from %s; the least is %s", v.Module, v.Version, v.Chosen, v.From, v.Least)
			for line := range strings.Lines(registry.Difference{Changes: v.Changes}.Table()) {
				a.say("  %s", strings.TrimSuffix(line, "\n"))
			}
		}
		for _, s := range v.Source {
			a.say("  %s %s", s.How, s.Name)
			for _, line := range s.Lines {
				a.say("    %s", line)
			}
		}
		sayAffected(a, v.Affected)
	}
	for _, m := range r.Changed {
		for _, c := range m.Changes {
			a.say("changed: %s: %s", m.Module, c)
		}
		sayAffected(a, m.Affected)
	}
	for _, l := range r.Look {
		a.say("look: %s: %s", l.File, l.Text)
	}
	if r.Verdict == verdictLook {
		a.say("a maintainer must look before anything of it runs")
	}
}

func sayAffected(a *app, list []use) {
	for _, u := range list {
		if u.Breaks != "" {
			a.say("  breaks %s, step %q: %s", u.File, u.Step, u.Breaks)
		} else {
			a.say("  reaches %s, step %q", u.File, u.Step)
		}
	}
}

func (r *review) exit() error {
	switch r.Verdict {
	case verdictProblems:
		return exitCode(exitProblems)
	case verdictLook:
		return exitCode(exitLook)
	}
	return nil
}

// Bounds of a report; GitHub takes 65,536 characters in a comment.
const (
	maxReported = 50
	maxReport   = 60_000
)

// markdown is the report for GitHub. All that comes from the change is written
// so that nothing of it is more than text.
func (r *review) markdown() string {
	var b strings.Builder
	title := map[string]string{
		verdictGood: "good", verdictProblems: "there are problems",
		verdictLook: "good, but a maintainer must look before anything of it runs",
	}
	fmt.Fprintf(&b, "### modyard: %s\n\n", title[r.Verdict])
	if r.Commit != "" {
		fmt.Fprintf(&b, "Of %s.\n\n", code(fmt.Sprintf("%.12s", r.Commit)))
	}
	if len(r.Look) > 0 {
		b.WriteString("What a maintainer must look at:\n\n")
		listSome(&b, r.Look, func(l registry.Reason) string { return "- " + code(l.File) + ": " + plain(l.Text) })
		if r.Commit != "" && r.Verdict == verdictLook && len(r.Versions)+len(r.tested) > 0 {
			fmt.Fprintf(&b, "Then the label %s lets the tests of this commit run.\n\n", code(runLabel))
		}
	}
	errs := slices.DeleteFunc(slices.Clone(r.Diagnostics), func(d schema.Diagnostic) bool { return d.Severity != schema.Error })
	if len(errs) > 0 {
		b.WriteString("| where | problem | hint |\n| --- | --- | --- |\n")
		listSome(&b, errs, func(d schema.Diagnostic) string {
			where := d.File
			if d.Line > 0 {
				where = fmt.Sprintf("%s:%d", d.File, d.Line)
			}
			return "| " + code(where) + " | " + plain(d.Message) + " (" + plain(string(d.Rule)) + ") | " + plain(d.Hint) + " |"
		})
	}
	listSome(&b, r.Versions, newVersion.markdown)
	listSome(&b, r.Changed, changedModule.markdown)
	if len(r.Versions)+len(r.Changed)+len(errs) == 0 {
		b.WriteString("No version is added.\n")
	}
	return cut(b.String())
}

func (v newVersion) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s\n\n", code(v.Module+"@"+v.Version))
	if v.From == "" {
		b.WriteString("The first version.\n\n")
	} else {
		fmt.Fprintf(&b, "A **%s** step from %s; the least that its changes need is **%s**.\n\n", v.Chosen, code(v.From), v.Least)
	}
	if len(v.Changes) > 0 {
		b.WriteString("| what | change | before | after | needs |\n| --- | --- | --- | --- | --- |\n")
		listSome(&b, v.Changes, func(c registry.Change) string {
			needs := c.Bump.String()
			if c.Bump == registry.Major {
				needs = "**major**: breaks"
			}
			return "| " + code(c.Where) + " | " + plain(c.What) + " | " + code(c.Before) + " | " + code(c.After) + " | " + needs + " |"
		})
	}
	if len(v.Source) > 0 {
		b.WriteString("<details><summary>" + count(len(v.Source), "file") + " of the source</summary>\n\n")
		listSome(&b, v.Source, func(s registry.FileChange) string { return "- " + s.How + " " + code(s.Name) })
		b.WriteString("</details>\n\n")
	}
	for _, s := range v.Source {
		if len(s.Lines) > 0 {
			fmt.Fprintf(&b, "Requirements in %s:\n\n", code(s.Name))
			listSome(&b, s.Lines, func(line string) string { return "- " + code(line) })
		}
	}
	if len(v.Owners) > 0 {
		b.WriteString("Owners: ")
		for i, o := range v.Owners {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(code(o))
		}
		b.WriteString("\n\n")
	}
	markAffected(&b, v.Affected)
	return strings.TrimSuffix(b.String(), "\n")
}

func (m changedModule) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s\n\n", code(m.Module))
	listSome(&b, m.Changes, func(c registry.Restatement) string { return "- " + plain(c.String()) })
	markAffected(&b, m.Affected)
	return strings.TrimSuffix(b.String(), "\n")
}

func markAffected(b *strings.Builder, list []use) {
	if len(list) == 0 {
		return
	}
	b.WriteString("Pipelines that would have another version than before:\n\n")
	listSome(b, list, func(u use) string {
		line := "- " + code(u.File) + ", step " + code(u.Step) + " (" + code(u.Module) + ")"
		if u.Picks != "" {
			line += " gets " + code(u.Picks)
		}
		if u.Breaks != "" {
			line += ": **breaks**: " + plain(u.Breaks)
		}
		return line
	})
}

// listSome writes a line for each item, up to a bound, and an empty line.
func listSome[T any](b *strings.Builder, list []T, text func(T) string) {
	for i, item := range list {
		if i == maxReported {
			fmt.Fprintf(b, "\n…and %d more.\n", len(list)-i)
			break
		}
		b.WriteString(text(item) + "\n")
	}
	if len(list) > 0 {
		b.WriteString("\n")
	}
}

// cut ends a report that is too long at a line.
func cut(s string) string {
	if len(s) <= maxReport {
		return s
	}
	s = s[:maxReport]
	return s[:strings.LastIndexByte(s, '\n')+1] + "\n…\n"
}

// plain writes text so that Markdown, HTML and GitHub's mentions and references
// see nothing in it: every character that could mean something is a number.
func plain(s string) string { return entities(s, "&#8288;") }

// entities puts join after what GitHub would read as a mention or a reference
// even as a number.
func entities(s, join string) string {
	var b strings.Builder
	var last rune
	for _, r := range strings.ToValidUTF8(s, "�") {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case schema.Unseen(r):
			b.WriteString("�")
		case r == '@' || r == '#':
			fmt.Fprintf(&b, "&#%d;%s", r, join)
		case r == '-' && (last == 'h' || last == 'H'): // GH-1 would refer to an issue
			b.WriteString("-" + join)
		case r == '.' && (last == 'w' || last == 'W'): // www.example.com would be a link
			b.WriteString("&#46;")
		case r < 128 && strings.ContainsRune("\\`*_{}[]<>()+!|~&\"'$:%", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

// code writes a name or a value in code style, where GitHub sees no mentions,
// so that it can be copied; "" stays "".
func code(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + entities(s, "") + "</code>"
}
