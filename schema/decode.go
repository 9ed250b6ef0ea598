package schema

import (
	"time"

	"gopkg.in/yaml.v3"
)

// decoder makes manifests of nodes. It is lenient: what the JSON Schema has
// already reported is left at its zero value.
type decoder struct{ doc *document }

// each calls f for every key of a mapping.
func (d *decoder) each(n *yaml.Node, f func(key string, pos Pos, v *yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := resolve(n.Content[i])
		f(k.Value, nodePos(n.Content[i]), resolve(n.Content[i+1]))
	}
}

// entries decodes a mapping of names.
func entries[T any](d *decoder, n *yaml.Node, f func(*yaml.Node) T) Map[T] {
	m := make(Map[T], 0, len(n.Content)/2)
	d.each(n, func(key string, pos Pos, v *yaml.Node) {
		m = append(m, Entry[T]{key, pos, f(v)})
	})
	return m
}

func str(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

// text takes a scalar with the place where its characters begin, or where the
// | or > stands.
func text(n *yaml.Node) Text {
	pos := nodePos(n)
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		pos.Col++
	}
	return Text{str(n), pos}
}

func (d *decoder) strings(n *yaml.Node) []string {
	var out []string
	for _, c := range n.Content {
		out = append(out, str(resolve(c)))
	}
	return out
}

func (d *decoder) texts(n *yaml.Node) []Text {
	out := make([]Text, len(n.Content))
	for i, c := range n.Content {
		out[i] = text(resolve(c))
	}
	return out
}

func truth(n *yaml.Node) bool {
	b, ok := nodeBool(n)
	return ok && b
}

func integer(n *yaml.Node) int {
	i, _ := nodeInt(n)
	return int(i)
}

func (d *decoder) float(n *yaml.Node) float64 {
	f, _ := asFloat(d.any(n))
	return f
}

func (d *decoder) bound(n *yaml.Node) *float64 {
	if f, ok := asFloat(d.any(n)); ok {
		return &f
	}
	return nil
}

// any takes a value; what is no value was reported before, and is nil.
func (d *decoder) any(n *yaml.Node) any {
	w := walker{doc: &document{}}
	if v := w.plain(n, 0); len(w.doc.diags) == 0 {
		return v
	}
	return nil
}

func (d *decoder) duration(n *yaml.Node) time.Duration {
	t, err := time.ParseDuration(str(n))
	if err != nil || t < 0 {
		return 0
	}
	return t
}

// spec takes the keys of a value's type.
func (d *decoder) spec(s *Spec, key string, v *yaml.Node) {
	switch key {
	case "type":
		s.Type = Type(str(v))
	case "items":
		s.Items = Type(str(v))
	case "enum":
		list, _ := d.any(v).([]any)
		s.Enum = list
	case "minimum":
		s.Minimum = d.bound(v)
	case "exclusiveMinimum":
		s.ExclusiveMinimum = d.bound(v)
	case "maximum":
		s.Maximum = d.bound(v)
	case "exclusiveMaximum":
		s.ExclusiveMaximum = d.bound(v)
	case "pattern":
		s.Pattern = str(v)
	}
}

func (d *decoder) input(n *yaml.Node) (in Input) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) { in.set(key, v) })
	return in
}

func (in *Input) set(key string, v *yaml.Node) {
	switch key {
	case "type":
		in.Type = Type(str(v))
	case "format":
		in.Format = str(v)
	case "optional":
		in.Optional = truth(v)
	case "description":
		in.Description = str(v)
	}
}

func (d *decoder) output(n *yaml.Node) (out Output) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "format":
			out.Format = str(v)
		case "optional":
			out.Optional = truth(v)
		case "description":
			out.Description = str(v)
		case "from":
			out.From = text(v)
		default:
			d.spec(&out.Spec, key, v)
		}
	})
	return out
}

func (d *decoder) param(n *yaml.Node) (p Param) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "default":
			p.Default = d.any(v)
		case "optional":
			p.Optional = truth(v)
		case "description":
			p.Description = str(v)
		default:
			d.spec(&p.Spec, key, v)
		}
	})
	if c, err := p.Check(p.Default); err == nil {
		p.Default = c
	}
	return p
}

func (d *decoder) secret(n *yaml.Node) (s Secret) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "optional":
			s.Optional = truth(v)
		case "description":
			s.Description = str(v)
		}
	})
	return s
}

func (d *decoder) environment(n *yaml.Node) (e Environment) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "image":
			e.Image = text(v)
		case "python":
			e.Python = &Python{}
			d.each(v, func(key string, _ Pos, v *yaml.Node) {
				switch key {
				case "version":
					e.Python.Version = text(v)
				case "requirements":
					e.Python.Requirements = text(v)
				}
			})
		}
	})
	return e
}

func (d *decoder) resources(n *yaml.Node) Resources {
	r := Resources{Pos: nodePos(n)}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "cpus":
			r.CPUs = d.float(v)
		case "memory":
			if i, ok := nodeInt(v); ok && v.Tag == "!!int" {
				r.Memory = i
			} else {
				r.Memory, _ = ParseMemory(str(v))
			}
		case "gpus":
			r.GPUs = integer(v)
		}
	})
	return r
}

func (d *decoder) run(n *yaml.Node) *Run {
	r := &Run{Pos: nodePos(n)}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "command":
			for _, c := range v.Content {
				c = resolve(c)
				if c.Kind == yaml.SequenceNode {
					r.Command = append(r.Command, Argument{d.texts(c), true})
				} else {
					r.Command = append(r.Command, Argument{[]Text{text(c)}, false})
				}
			}
		case "environment":
			r.Environment = d.environment(v)
		case "env":
			r.Env = entries(d, v, text)
		case "network":
			r.Network = truth(v)
		case "resources":
			r.Resources = d.resources(v)
		case "timeout":
			r.Timeout = d.duration(v)
		case "deterministic":
			r.Nondeterministic = !truth(v)
		}
	})
	return r
}

func (d *decoder) snapshot(n *yaml.Node) *Snapshot {
	s := &Snapshot{Pos: nodePos(n)}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "digest":
			s.Digest = Digest(str(v))
			return
		case "folder":
			s.Folder = text(v)
		case "snapshot":
			s.Version = text(v)
		case "git":
			s.Git = &GitOrigin{}
			d.each(v, func(key string, _ Pos, v *yaml.Node) {
				switch key {
				case "url":
					s.Git.URL = text(v)
				case "commit":
					s.Git.Commit = str(v)
				case "path":
					s.Git.Path = text(v)
				}
			})
		case "image":
			s.Image = &ImageOrigin{}
			d.each(v, func(key string, _ Pos, v *yaml.Node) {
				switch key {
				case "name":
					s.Image.Name = text(v)
				case "path":
					s.Image.Path = text(v)
				}
			})
		case "archive":
			s.Archive = d.archive(v)
		case "azureDevOps":
			s.AzureDevOps = d.azureDevOps(v)
		}
		s.Origin = key
	})
	return s
}

func (d *decoder) archive(n *yaml.Node) *ArchiveOrigin {
	a := &ArchiveOrigin{}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "url":
			a.URL = text(v)
		case "strip":
			a.Strip = integer(v)
		case "path":
			a.Path = text(v)
		}
	})
	return a
}

func (d *decoder) azureDevOps(n *yaml.Node) *AzureDevOpsOrigin {
	a := &AzureDevOpsOrigin{}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "organization":
			a.Organization = str(v)
		case "project":
			a.Project = str(v)
		case "pipeline":
			a.Pipeline, _ = nodeInt(v)
		case "run":
			a.Run, _ = nodeInt(v)
		case "artifact":
			a.Artifact = str(v)
		case "path":
			a.Path = text(v)
		}
	})
	return a
}

// iface takes the keys of an interface; it reports whether key was one.
func (d *decoder) iface(i *Interface, key string, v *yaml.Node) bool {
	switch key {
	case "inputs":
		i.Inputs = entries(d, v, d.input)
	case "outputs":
		i.Outputs = entries(d, v, d.output)
	case "params":
		i.Params = entries(d, v, d.param)
	case "secrets":
		i.Secrets = entries(d, v, d.secret)
	default:
		return false
	}
	return true
}

func (d *decoder) step(n *yaml.Node) (s Step) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "module":
			s.Module = text(v)
		case "digest":
			s.Digest = text(v)
		case "run":
			s.Run = d.run(v)
		case "transfer":
			s.Transfer = true
		case "snapshot":
			s.Snapshot = d.snapshot(v)
		case "inputs":
			s.Inputs = entries(d, v, text)
		case "params":
			s.Params = entries(d, v, func(n *yaml.Node) Arg { return Arg{d.any(n), text(n).Pos} })
		case "outputs":
			s.Outputs = entries(d, v, d.output)
		case "secrets":
			s.Secrets = entries(d, v, text)
		case "after":
			s.After = d.texts(v)
		case "retries":
			s.Retries = integer(v)
		case "timeout":
			s.Timeout = d.duration(v)
		case "resources":
			r := d.resources(v)
			s.Resources = &r
		case "compute":
			s.Compute = text(v)
		case "cache":
			s.NoCache = !truth(v)
		case "description":
			s.Description = str(v)
		}
	})
	return s
}

func (d *decoder) moduleVersion(n *yaml.Node) *ModuleVersion {
	m := &ModuleVersion{File: d.doc.file, Digest: VersionDigest(d.doc.data)}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "module":
			m.Module = text(v)
		case "version":
			m.Version = text(v)
		case "description":
			m.Description = str(v)
		case "created":
			m.Created = text(v)
		case "run":
			m.Run = d.run(v)
		case "snapshot":
			m.Snapshot = d.snapshot(v)
		case "registries":
			m.Registries = entries(d, v, text)
		case "steps":
			m.Steps = entries(d, v, d.step)
		default:
			d.iface(&m.Interface, key, v)
		}
	})
	return m
}

func (d *decoder) pipelineInput(n *yaml.Node) (in PipelineInput) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "path":
			in.Path = text(v)
		case "uri":
			in.URI = text(v)
		case "digest":
			in.Digest = Digest(str(v))
		default:
			in.set(key, v)
		}
	})
	return in
}

func (d *decoder) pipeline(n *yaml.Node) *Pipeline {
	p := &Pipeline{File: d.doc.file}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "name":
			p.Name = str(v)
		case "description":
			p.Description = str(v)
		case "registries":
			p.Registries = entries(d, v, text)
		case "params":
			p.Params = entries(d, v, d.param)
		case "inputs":
			p.Inputs = entries(d, v, d.pipelineInput)
		case "steps":
			p.Steps = entries(d, v, d.step)
		case "outputs":
			p.Outputs = entries(d, v, text)
		}
	})
	return p
}

func (l *Lifecycle) set(key string, v *yaml.Node) {
	switch key {
	case "state":
		l.State, l.StatePos = State(str(v)), nodePos(v)
		if l.State == Active {
			l.State = ""
		}
	case "reason":
		l.Reason, l.ReasonPos = str(v), nodePos(v)
	case "use":
		l.Use, l.UsePos = str(v), nodePos(v)
	}
}

func (d *decoder) module(n *yaml.Node) *Module {
	m := &Module{File: d.doc.file}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "name":
			m.Name, m.NamePos = str(v), nodePos(v)
		case "description":
			m.Description = str(v)
		case "owners":
			m.Owners = d.strings(v)
		case "tags":
			m.Tags = d.strings(v)
		case "default":
			m.Default = text(v)
		case "versions":
			m.Versions = entries(d, v, func(n *yaml.Node) (l Lifecycle) {
				d.each(n, func(key string, _ Pos, v *yaml.Node) { l.set(key, v) })
				return l
			})
		default:
			m.Lifecycle.set(key, v)
		}
	})
	return m
}

func (d *decoder) registry(n *yaml.Node) *Registry {
	r := &Registry{File: d.doc.file}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "name":
			r.Name = str(v)
		case "description":
			r.Description = str(v)
		case "images":
			r.Images = str(v)
		case "index":
			r.Index = str(v)
		case "mirrors":
			for _, c := range v.Content {
				r.Mirrors = append(r.Mirrors, str(resolve(c)))
			}
		case "source":
			r.Source = str(v)
		case "policy":
			r.Policy = d.policy(v)
		}
	})
	return r
}

func (d *decoder) policy(n *yaml.Node) Policy {
	var p Policy
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "signatures":
			p.Signatures = str(v)
		case "keys":
			p.Keys = d.texts(v)
		case "identities":
			for _, c := range v.Content {
				var id Identity
				d.each(resolve(c), func(key string, _ Pos, v *yaml.Node) {
					switch key {
					case "issuer":
						id.Issuer = str(v)
					case "subject":
						id.Subject = text(v)
					}
				})
				p.Identities = append(p.Identities, id)
			}
		}
	})
	return p
}

func (d *decoder) moduleTest(n *yaml.Node) *ModuleTest {
	t := &ModuleTest{File: d.doc.file}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "description":
			t.Description = str(v)
		case "versions":
			t.Versions = text(v)
		case "inputs":
			t.Inputs = entries(d, v, text)
		case "params":
			t.Params = entries(d, v, d.any)
		case "expect":
			d.each(v, func(key string, _ Pos, v *yaml.Node) {
				switch key {
				case "exit":
					t.Exit = integer(v)
				case "outputs":
					t.Outputs = entries(d, v, d.expected)
				}
			})
		}
	})
	return t
}

func (d *decoder) expected(n *yaml.Node) (e Expected) {
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "value":
			e.Value = d.any(v)
		case "minimum":
			e.Minimum = d.bound(v)
		case "maximum":
			e.Maximum = d.bound(v)
		case "file":
			e.File = text(v)
		case "json":
			e.JSON = text(v)
		case "digest":
			e.Digest = Digest(str(v))
		case "tolerance":
			e.Tolerance = d.float(v)
		}
	})
	return e
}

func (d *decoder) lock(n *yaml.Node) *Lock {
	l := &Lock{File: d.doc.file}
	d.each(n, func(key string, _ Pos, v *yaml.Node) {
		switch key {
		case "registries":
			l.Registries = entries(d, v, str)
		case "steps":
			l.Steps = entries(d, v, func(n *yaml.Node) (s Locked) {
				d.each(n, func(key string, _ Pos, v *yaml.Node) {
					switch key {
					case "module":
						s.Module = text(v)
					case "version":
						s.Version = str(v)
					case "digest":
						s.Digest = Digest(str(v))
					}
				})
				return s
			})
		}
	})
	return l
}
