package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// What follows writes manifests as a person would: one line a name, in the
// order of the schema, so that a reviewer reads them easily.

// flowFields writes {key: value, …} of the pairs whose value is not "".
func flowFields(pairs ...string) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			parts = append(parts, pairs[i]+": "+pairs[i+1])
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func flowText(s string) string {
	if s == "" {
		return ""
	}
	return schema.Flow(s)
}

func truthText(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func inputText(i schema.Input) string {
	return flowFields("type", string(i.Type), "format", i.Format, "optional", truthText(i.Optional), "description", flowText(i.Description))
}

func specFields(s schema.Spec) []string {
	num := func(f *float64) string {
		if f == nil {
			return ""
		}
		return schema.JSON(*f)
	}
	enum := ""
	if len(s.Enum) > 0 {
		enum = schema.Flow(s.Enum)
	}
	return []string{
		"type", string(s.Type), "items", string(s.Items), "enum", enum, "minimum", num(s.Minimum), "exclusiveMinimum", num(s.ExclusiveMinimum),
		"maximum", num(s.Maximum), "exclusiveMaximum", num(s.ExclusiveMaximum), "pattern", flowText(s.Pattern),
	}
}

func outputText(o schema.Output) string {
	return flowFields(append(specFields(o.Spec), "format", o.Format, "optional", truthText(o.Optional), "description", flowText(o.Description))...)
}

func paramSpecText(p schema.Param) string {
	return flowFields(append(specFields(p.Spec), "default", defaultText(p), "optional", truthText(p.Optional), "description", flowText(p.Description))...)
}

func defaultText(p schema.Param) string {
	switch d := p.Default.(type) {
	case nil:
		return ""
	case string:
		return schema.JSON(d)
	default:
		return schema.Flow(d)
	}
}

// group writes a mapping of names, one a line.
func group[T any](b *strings.Builder, key string, m schema.Map[T], text func(T) string) {
	if len(m) == 0 {
		return
	}
	b.WriteString(key + ":\n")
	for _, e := range m {
		fmt.Fprintf(b, "  %s: %s\n", e.Name, text(e.Value))
	}
}

// versionText writes a module version.
func versionText(m *schema.ModuleVersion) string {
	var b strings.Builder
	b.WriteString(schema.EditorComment(schema.KindModuleVersion))
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmodule: %s\nversion: %s\n", schema.APIVersion, schema.KindModuleVersion, m.Module.Value, m.Version.Value)
	if m.Description != "" {
		fmt.Fprintf(&b, "description: %s\n", schema.Scalar(m.Description))
	}
	fmt.Fprintf(&b, "created: %s\n\n", time.Now().UTC().Format(time.RFC3339))
	group(&b, "inputs", m.Inputs, inputText)
	group(&b, "outputs", m.Outputs, outputText)
	group(&b, "params", m.Params, paramSpecText)
	group(&b, "secrets", m.Secrets, func(s schema.Secret) string {
		return flowFields("optional", truthText(s.Optional), "description", flowText(s.Description))
	})
	b.WriteString("\n" + runText(m.Run))
	if m.Snapshot.Folder.Value != "" {
		fmt.Fprintf(&b, "\nsnapshot:\n  folder: %s\n", schema.Scalar(m.Snapshot.Folder.Value))
	} else {
		fmt.Fprintf(&b, "\nsnapshot: %s\n", snapshotText(m.Snapshot))
	}
	return b.String()
}

func runText(r *schema.Run) string {
	var b strings.Builder
	b.WriteString("run:\n  command:\n")
	for _, arg := range r.Command {
		fmt.Fprintf(&b, "    - %s\n", argumentText(arg))
	}
	if p := r.Environment.Python; p != nil {
		fmt.Fprintf(&b, "  environment: {python: %s}\n", flowFields("version", flowText(p.Version.Value), "requirements", flowText(p.Requirements.Value)))
	}
	if img := r.Environment.Image.Value; img != "" {
		fmt.Fprintf(&b, "  environment: {image: %s}\n", flowText(img))
	}
	if len(r.Env) > 0 {
		b.WriteString("  env:\n")
		for _, e := range r.Env {
			fmt.Fprintf(&b, "    %s: %s\n", e.Name, schema.JSON(e.Value.Value))
		}
	}
	if r.Network {
		b.WriteString("  network: true\n")
	}
	if r.Resources != (schema.Resources{Pos: r.Resources.Pos}) {
		mem, cpus, gpus := "", "", ""
		if r.Resources.Memory > 0 {
			mem = fmt.Sprint(r.Resources.Memory)
		}
		if r.Resources.CPUs > 0 {
			cpus = schema.JSON(r.Resources.CPUs)
		}
		if r.Resources.GPUs > 0 {
			gpus = fmt.Sprint(r.Resources.GPUs)
		}
		fmt.Fprintf(&b, "  resources: %s\n", flowFields("cpus", cpus, "memory", mem, "gpus", gpus))
	}
	if r.Timeout > 0 {
		fmt.Fprintf(&b, "  timeout: %s\n", durationText(r))
	}
	if r.Nondeterministic {
		b.WriteString("  deterministic: false\n")
	}
	return b.String()
}

func durationText(r *schema.Run) string {
	ms := r.Timeout.Milliseconds()
	switch {
	case ms%3_600_000 == 0:
		return fmt.Sprintf("%dh", ms/3_600_000)
	case ms%60_000 == 0:
		return fmt.Sprintf("%dm", ms/60_000)
	case ms%1000 == 0:
		return fmt.Sprintf("%ds", ms/1000)
	}
	return fmt.Sprintf("%dms", ms)
}

// argumentText writes one argument of a command.
func argumentText(arg schema.Argument) string {
	var texts []string
	for _, t := range arg.Texts {
		texts = append(texts, commandText(t.Value))
	}
	if arg.Nested {
		return "[" + strings.Join(texts, ", ") + "]"
	}
	return texts[0]
}

// commandText writes one text of an argument.
func commandText(s string) string {
	if strings.Contains(s, "${{") {
		return schema.JSON(s)
	}
	return schema.Flow(s)
}

func majorOf(v *registry.Version) string { return rangeOf(v.Number) }

// rangeOf is what a caret range from this version on names: 2, or 0.3.
func rangeOf(v *semver.Version) string {
	if v.Prerelease() != "" {
		return v.Original()
	}
	if v.Major() == 0 {
		return fmt.Sprintf("0.%d", v.Minor())
	}
	return fmt.Sprint(v.Major())
}

// stepText writes a step that uses a module; wire gives the expression for an
// input, or "".
func stepText(reg, module, selector string, m *schema.ModuleVersion, wire map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "module: %s\n", schema.Scalar(schema.ModuleRef{Registry: reg, Name: module, Selector: selector}.String()))
	var inputs strings.Builder
	for _, in := range m.Inputs {
		expr := wire[in.Name]
		if in.Value.Optional && expr == "" {
			continue
		}
		if expr == "" {
			expr = "${{ inputs." + in.Name + " }}"
		}
		fmt.Fprintf(&inputs, "  %s: %s\n", in.Name, schema.JSON(expr))
	}
	if inputs.Len() > 0 {
		b.WriteString("inputs:\n" + inputs.String())
	}
	var params strings.Builder
	for _, p := range m.Params {
		if p.Value.Required() {
			fmt.Fprintf(&params, "  %s: %s\n", p.Name, schema.Flow(p.Value.Sample()))
		}
	}
	if params.Len() > 0 {
		b.WriteString("params:\n" + params.String())
	}
	var secrets strings.Builder
	for _, s := range m.Secrets {
		if !s.Value.Optional {
			fmt.Fprintf(&secrets, "  %s: \"${{ secrets.%s }}\"\n", s.Name, strings.ToUpper(s.Name))
		}
	}
	if secrets.Len() > 0 {
		b.WriteString("secrets:\n" + secrets.String())
	}
	return b.String()
}

func indentText(s, by string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(by + line)
	}
	return b.String()
}
