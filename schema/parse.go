package schema

import "gopkg.in/yaml.v3"

// ParseRegistry reads registry.yaml. The manifest is nil when the text could
// not be read as YAML.
func ParseRegistry(file string, data []byte) (*Registry, Diagnostics) {
	return parse(file, data, KindRegistry, (*decoder).registry, nil)
}

// ParseModule reads a module.yaml.
func ParseModule(file string, data []byte) (*Module, Diagnostics) {
	return parse(file, data, KindModule, (*decoder).module, (*linter).module)
}

// ParseModuleVersion reads the file of a module version and takes its digest.
func ParseModuleVersion(file string, data []byte) (*ModuleVersion, Diagnostics) {
	return parse(file, data, KindModuleVersion, (*decoder).moduleVersion, (*linter).moduleVersion)
}

// ParsePipeline reads a pipeline.
func ParsePipeline(file string, data []byte) (*Pipeline, Diagnostics) {
	return parse(file, data, KindPipeline, (*decoder).pipeline, (*linter).pipeline)
}

// ParseLock reads the lock of a pipeline.
func ParseLock(file string, data []byte) (*Lock, Diagnostics) {
	return parse(file, data, KindLock, (*decoder).lock, nil)
}

// Parse reads a manifest of whatever kind it says it is: a *Registry, a
// *Module, a *ModuleVersion, a *Pipeline or a *Lock.
func Parse(file string, data []byte) (any, Diagnostics) {
	switch kind, diags := Kind(file, data); kind {
	case KindRegistry:
		return some(ParseRegistry(file, data))
	case KindModule:
		return some(ParseModule(file, data))
	case KindModuleVersion:
		return some(ParseModuleVersion(file, data))
	case KindPipeline:
		return some(ParsePipeline(file, data))
	case KindLock:
		return some(ParseLock(file, data))
	default:
		return nil, diags
	}
}

// some keeps a nil pointer from becoming a value that is not nil.
func some[T any](m *T, diags Diagnostics) (any, Diagnostics) {
	if m == nil {
		return nil, diags
	}
	return m, diags
}

// Kind finds the kind that a manifest says it has; without a known one the
// diagnostics say so.
func Kind(file string, data []byte) (string, Diagnostics) {
	d := parseYAML(file, data, MaxPipeline)
	if d.root == nil {
		return "", d.diags
	}
	kinds := []string{KindRegistry, KindModule, KindModuleVersion, KindPipeline, KindLock}
	hint := "begin it with \"apiVersion: " + APIVersion + "\" and the kind: " + QuoteList(kinds, "or")
	n := resolve(d.root)
	if n.Kind != yaml.MappingNode && len(d.diags) > 0 {
		return "", d.diags
	}
	if n.Kind != yaml.MappingNode {
		d.diags.Add(file, nodePos(n), RuleSchema, hint, "the manifest must be a mapping, not %s", nodeType(n))
		return "", d.diags
	}
	given := false
	kind := ""
	pos := nodePos(n)
	(&decoder{d}).each(n, func(key string, _ Pos, v *yaml.Node) {
		if key == "kind" {
			given, kind, pos = true, str(v), nodePos(v)
		}
	})
	if _, ok := kindFiles[kind]; ok {
		return kind, nil
	}
	switch {
	case kind != "":
		d.diags.Add(file, pos, RuleSchema, DidYouMean(kind, kinds), "%q is no kind of manifest", clip(kind))
	case given:
		d.diags.Add(file, pos, RuleSchema, "", "\"kind\" must be %s", QuoteList(kinds, "or"))
	default:
		d.diags.Add(file, pos, RuleSchema, hint, "the manifest lacks the key \"kind\"")
	}
	d.diags.Sort()
	return "", d.diags
}

// parse is the one way from bytes to a manifest: YAML, JSON Schema, decoding,
// and the rules that a schema cannot say. A rule's diagnostic at a place that
// the schema has already found wrong is dropped.
func parse[T any](file string, data []byte, kind string, decode func(*decoder, *yaml.Node, []byte) *T, lint func(*linter, *T)) (*T, Diagnostics) {
	d := parseYAML(file, data, MaxSize(kind))
	if d.root == nil {
		d.diags.Sort()
		return nil, d.diags
	}
	if len(d.diags) == 0 {
		d.validate(kind)
	}
	m := decode(&decoder{d}, d.root, data)
	if lint != nil {
		wrong := map[Pos]bool{}
		for _, x := range d.diags {
			wrong[x.Pos] = true
		}
		l := &linter{file: file, doc: d, data: data}
		lint(l, m)
		for _, x := range l.diags {
			if !wrong[x.Pos] {
				d.diags = append(d.diags, x)
			}
		}
	}
	d.diags.Sort()
	return m, d.diags
}
