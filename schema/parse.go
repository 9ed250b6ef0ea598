package schema

import "gopkg.in/yaml.v3"

// ParseRegistry reads registry.yaml. The manifest is nil when the text could
// not be read as YAML.
func ParseRegistry(file string, data []byte) (*Registry, Diagnostics) {
	return parseYAML(file, data, MaxManifest).asRegistry()
}

// ParseModule reads a module.yaml.
func ParseModule(file string, data []byte) (*Module, Diagnostics) {
	return parseYAML(file, data, MaxManifest).asModule()
}

// ParseModuleVersion reads the file of a module version and takes its digest.
func ParseModuleVersion(file string, data []byte) (*ModuleVersion, Diagnostics) {
	return parseYAML(file, data, MaxManifest).asModuleVersion()
}

// ParsePipeline reads a pipeline.
func ParsePipeline(file string, data []byte) (*Pipeline, Diagnostics) {
	return parseYAML(file, data, MaxPipeline).asPipeline()
}

// ParseLock reads the lock of a pipeline.
func ParseLock(file string, data []byte) (*Lock, Diagnostics) {
	return parseYAML(file, data, MaxPipeline).asLock()
}

// ParseModuleTest reads a test of a module.
func ParseModuleTest(file string, data []byte) (*ModuleTest, Diagnostics) {
	return parseYAML(file, data, MaxManifest).asModuleTest()
}

// Parse reads a manifest of whatever kind it says it is: a *Registry, a
// *Module, a *ModuleVersion, a *Pipeline, a *Lock or a
// *ModuleTest.
func Parse(file string, data []byte) (any, Diagnostics) {
	d := parseYAML(file, data, MaxPipeline)
	kind := d.kind()
	if limit := MaxSize(kind); kind != "" && int64(len(data)) > limit {
		d = parseYAML(file, data, limit) // which says that it is too large
	}
	switch kind {
	case KindRegistry:
		return some(d.asRegistry())
	case KindModule:
		return some(d.asModule())
	case KindModuleVersion:
		return some(d.asModuleVersion())
	case KindPipeline:
		return some(d.asPipeline())
	case KindLock:
		return some(d.asLock())
	case KindModuleTest:
		return some(d.asModuleTest())
	default:
		d.diags.Sort()
		return nil, d.diags
	}
}

// some keeps a nil pointer from becoming a value that is not nil.
func some[T any](m *T, diags Diagnostics) (any, Diagnostics) {
	if m == nil {
		return nil, diags
	}
	return m, diags
}

func (d *document) asRegistry() (*Registry, Diagnostics) {
	return read(d, KindRegistry, (*decoder).registry, (*linter).registry)
}

func (d *document) asModule() (*Module, Diagnostics) {
	return read(d, KindModule, (*decoder).module, (*linter).module)
}

func (d *document) asModuleVersion() (*ModuleVersion, Diagnostics) {
	return read(d, KindModuleVersion, (*decoder).moduleVersion, (*linter).moduleVersion)
}

func (d *document) asPipeline() (*Pipeline, Diagnostics) {
	return read(d, KindPipeline, (*decoder).pipeline, (*linter).pipeline)
}

func (d *document) asLock() (*Lock, Diagnostics) {
	return read(d, KindLock, (*decoder).lock, nil)
}

func (d *document) asModuleTest() (*ModuleTest, Diagnostics) {
	return read(d, KindModuleTest, (*decoder).moduleTest, (*linter).moduleTest)
}

// kind finds the kind that the manifest says it has; without a known one the
// diagnostics say so.
func (d *document) kind() string {
	if d.root == nil {
		return ""
	}
	kinds := []string{KindRegistry, KindModule, KindModuleVersion, KindPipeline, KindLock, KindModuleTest}
	hint := "begin it with \"apiVersion: " + APIVersion + "\" and the kind: " + QuoteList(kinds, "or")
	n := resolve(d.root)
	if n.Kind != yaml.MappingNode {
		if len(d.diags) == 0 {
			d.diags.Add(d.file, nodePos(n), RuleSchema, hint, "the manifest must be a mapping, not %s", nodeType(n))
		}
		return ""
	}
	given, kind, pos := false, "", nodePos(n)
	(&decoder{d}).each(n, func(key string, _ Pos, v *yaml.Node) {
		if key == "kind" {
			given, kind, pos = true, str(v), nodePos(v)
		}
	})
	if _, ok := kindFiles[kind]; ok {
		return kind
	}
	switch {
	case kind != "":
		d.diags.Add(d.file, pos, RuleSchema, DidYouMean(kind, kinds), "%q is no kind of manifest", clip(kind))
	case given:
		d.diags.Add(d.file, pos, RuleSchema, "", "\"kind\" must be %s", QuoteList(kinds, "or"))
	default:
		d.diags.Add(d.file, pos, RuleSchema, hint, "the manifest lacks the key \"kind\"")
	}
	return ""
}

// read is the one way from YAML to a manifest: JSON Schema, decoding, and the
// rules that a schema cannot say. A rule's diagnostic at a place that the
// schema has already found wrong is dropped.
func read[T any](d *document, kind string, decode func(*decoder, *yaml.Node) *T, lint func(*linter, *T)) (*T, Diagnostics) {
	if d.root == nil {
		d.diags.Sort()
		return nil, d.diags
	}
	if len(d.diags) == 0 {
		d.validate(kind)
	}
	m := decode(&decoder{d}, d.root)
	if lint != nil {
		wrong := map[Pos]bool{}
		for _, x := range d.diags {
			wrong[x.Pos] = true
		}
		l := &linter{file: d.file, doc: d}
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
