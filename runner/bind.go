package runner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modyard/modyard/schema"
)

// bind wires every step of a scope.
func (p *planner) bind(s *scope) {
	for _, n := range s.nodes {
		if !n.bad {
			p.bindStep(s, n)
		}
	}
}

func (p *planner) bindStep(s *scope, n *node) {
	inputs := p.stepInputs(s, n)
	params := p.stepParams(s, n)
	secrets := p.stepSecrets(s, n)
	p.after(s, n)
	if n.inner != nil {
		n.inner.params, n.inner.secrets = params, secrets
		for _, in := range n.iface.Inputs {
			src, set := inputs[in.Name]
			n.inner.inputs[in.Name] = boundInput{Input: in.Value, src: src, set: set}
		}
		p.bind(n.inner)
		p.checkNestedOutputs(n)
		return
	}
	st := n.leaf
	st.Interface = n.iface
	st.Sources, st.Values, st.Handed = inputs, params, secrets
	st.Env = map[string]schema.Template{}
	for _, e := range st.Run.Env {
		st.Env[e.Name] = p.envText(s, n, e)
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		st.need(inputs[name].Step)
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, piece := range params[name].Pieces() {
			st.need(piece.From.Step)
		}
	}
}

func (s *ModuleStep) need(other *ModuleStep) {
	if other != nil && !slices.Contains(s.Needs, other) {
		s.Needs = append(s.Needs, other)
	}
}

// envText reads a variable of run.env and replaces its env. expressions, whose
// values are part of the key and are not read as expressions themselves.
func (p *planner) envText(s *scope, n *node, e schema.Entry[schema.Text]) schema.Template {
	t, err := schema.ParseTemplate(e.Value.Value)
	if err != nil {
		return nil // reported with the file
	}
	for i, part := range t {
		if part.Ref != nil && part.Ref.Context == "env" {
			t[i] = schema.Part{Literal: p.env(s, n, e.Value.Pos, part.Ref.Name)}
		}
	}
	return t
}

func (p *planner) env(s *scope, n *node, pos schema.Pos, name string) string {
	if p.opt.Unbound {
		return "$" + name // no value: what is said of the plan may be read by others
	}
	if p.opt.Env != nil {
		if v, ok := p.opt.Env(name); ok {
			return v
		}
	}
	p.add(s.file, pos, schema.RuleValue, fmt.Sprintf("set it: export %s=…", name), "step %q: the environment variable %s is not set", n.name, name)
	return ""
}

// dataSpec is the type of data for messages and comparison.
func dataSpec(t schema.Type) schema.Spec { return schema.Spec{Type: t} }

// stepInputs wires the inputs of a step.
func (p *planner) stepInputs(s *scope, n *node) map[string]Source {
	out := make(map[string]Source, len(n.def.Inputs))
	script := n.def.Run != nil
	for _, e := range n.def.Inputs {
		want, known := n.iface.Inputs.Get(e.Name)
		if !known && !script {
			p.add(s.file, e.Pos, schema.RuleWiring, schema.DidYouMean(e.Name, n.iface.Inputs.Names()), "step %q: %s has no input %q", n.name, n.mod.Ref, e.Name)
			continue
		}
		have, ok := p.dataSource(s, n, e)
		if !ok {
			continue
		}
		if script {
			n.iface.Inputs = append(n.iface.Inputs, schema.Entry[schema.Input]{Name: e.Name, Pos: e.Pos,
				Value: schema.Input{Type: have.Type, Format: have.Format, Optional: have.src.Optional || !have.set}})
		} else if !p.fits(s, n, e, want, have) {
			continue
		}
		if have.set {
			out[e.Name] = have.src
		}
	}
	if script {
		return out
	}
	for _, in := range n.iface.Inputs {
		if _, wired := n.def.Inputs.Get(in.Name); !wired && !in.Value.Optional {
			p.add(s.file, n.pos, schema.RuleWiring, fmt.Sprintf("wire it: inputs: {%s: \"${{ … }}\"}", in.Name),
				"step %q lacks the input %q (%s) of %s", n.name, in.Name, describeData(in.Value.Type, in.Value.Format), n.mod.Ref)
		}
	}
	return out
}

func describeData(t schema.Type, format string) string {
	if format != "" {
		return string(t) + ", " + format
	}
	return string(t)
}

// fits checks the type, format and presence of what flows into an input.
func (p *planner) fits(s *scope, n *node, e schema.Entry[schema.Text], want schema.Input, have boundInput) bool {
	if err := dataSpec(want.Type).Accepts(dataSpec(have.Type)); err != nil {
		p.add(s.file, e.Value.Pos, schema.RuleWiring, "", "step %q: input %q: %v", n.name, e.Name, err)
		return false
	}
	if want.Format != "" && have.Format != "" && want.Format != have.Format {
		p.add(s.file, e.Value.Pos, schema.RuleWiring, "a step between them may convert it", "step %q: input %q has the format %s, not %s", n.name, e.Name, want.Format, have.Format)
		return false
	}
	if !want.Optional && (have.src.Optional || !have.set) {
		p.add(s.file, e.Value.Pos, schema.RuleWiring, "", "step %q: input %q is required, but %s may be unset", n.name, e.Name, strings.TrimSpace(e.Value.Value))
		return false
	}
	return true
}

// dataSource finds what the expression of an input names.
func (p *planner) dataSource(s *scope, n *node, e schema.Entry[schema.Text]) (boundInput, bool) {
	fail := func(hint, format string, args ...any) (boundInput, bool) {
		p.add(s.file, e.Value.Pos, schema.RuleWiring, hint, "step %q: input %q: "+format, append([]any{n.name, e.Name}, args...)...)
		return boundInput{}, false
	}
	t, terr := schema.ParseTemplate(e.Value.Value)
	if terr != nil {
		return boundInput{}, false // reported with the file
	}
	ref, whole := t.Whole()
	if !whole {
		if len(t.Refs()) == 0 {
			return fail("declare the file under the pipeline's inputs, with its path", "%q is no expression", e.Value.Value)
		}
		return fail("", "data comes from one expression and nothing around it")
	}
	switch ref.Context {
	case "inputs":
		in, ok := s.inputs[ref.Name]
		if !ok {
			return fail(schema.DidYouMean(ref.Name, s.inputNames), "there is no input %q", ref.Name)
		}
		return in, true
	case "steps":
		src, out, ok := p.output(s, n, e.Value.Pos, ref)
		if !ok {
			return boundInput{}, false
		}
		if !out.Type.IsData() {
			return fail("values go into params", "%s is a %s, not a file or folder", ref, out.TypeName())
		}
		return boundInput{Input: schema.Input{Type: out.Type, Format: out.Format}, src: src, set: src.Step != nil || src.Input != ""}, true
	}
	return boundInput{}, false // reported with the file
}

// output finds an output of a step of the scope, through nested pipelines.
func (p *planner) output(s *scope, n *node, pos schema.Pos, ref schema.Ref) (Source, schema.Output, bool) {
	who := ""
	if n != nil {
		who = fmt.Sprintf("step %q: ", n.name)
	}
	from, ok := s.byName[ref.Step]
	if !ok {
		p.add(s.file, pos, schema.RuleWiring, schema.DidYouMean(ref.Step, s.steps.Names()), "%sthere is no step %q", who, ref.Step)
		return Source{}, schema.Output{}, false
	}
	if from.bad {
		return Source{}, schema.Output{}, false
	}
	out, ok := from.iface.Outputs.Get(ref.Name)
	if !ok {
		p.add(s.file, pos, schema.RuleWiring, schema.DidYouMean(ref.Name, from.iface.Outputs.Names()), "%sstep %q has no output %q", who, ref.Step, ref.Name)
		return Source{}, schema.Output{}, false
	}
	if from.inner == nil {
		return Source{Step: from.leaf, Output: ref.Name, Optional: out.Optional}, out, true
	}
	t, terr := schema.ParseTemplate(out.From.Value)
	if terr != nil {
		return Source{}, schema.Output{}, false
	}
	inner, whole := t.Whole()
	if !whole || inner.Context != "steps" {
		return Source{}, schema.Output{}, false // checkNestedOutputs says so
	}
	// Problems inside are reported once, by checkNestedOutputs.
	before := len(p.diags)
	src, _, ok := p.output(from.inner, nil, out.From.Pos, inner)
	p.diags = p.diags[:before]
	src.Optional = src.Optional || out.Optional
	return src, out, ok
}

// checkNestedOutputs checks what a module that is a pipeline gives out.
func (p *planner) checkNestedOutputs(n *node) {
	for _, o := range n.iface.Outputs {
		t, terr := schema.ParseTemplate(o.Value.From.Value)
		if terr != nil || o.Value.From.Value == "" {
			continue
		}
		ref, whole := t.Whole()
		if !whole {
			p.add(n.inner.file, o.Value.From.Pos, schema.RuleWiring, "write ${{ steps.STEP.outputs.NAME }}", "output %q: %q is not one expression", o.Name, o.Value.From.Value)
			continue
		}
		_, have, ok := p.output(n.inner, nil, o.Value.From.Pos, ref)
		if !ok {
			continue
		}
		err := o.Value.Accepts(have.Spec)
		switch {
		case err != nil:
			p.add(n.inner.file, o.Value.From.Pos, schema.RuleWiring, "", "output %q: %v", o.Name, err)
		case o.Value.Format != have.Format && o.Value.Format != "" && have.Format != "":
			p.add(n.inner.file, o.Value.From.Pos, schema.RuleWiring, "", "output %q has the format %s, not %s", o.Name, o.Value.Format, have.Format)
		case have.Optional && !o.Value.Optional:
			p.add(n.inner.file, o.Value.From.Pos, schema.RuleWiring, "make the output optional", "output %q is always there, but %s may be unset", o.Name, ref)
		}
	}
}

// stepParams gives the params of a step their values.
func (p *planner) stepParams(s *scope, n *node) map[string]Param {
	out := make(map[string]Param, len(n.iface.Params))
	script := n.def.Run != nil
	for _, e := range n.def.Params {
		want, known := n.iface.Params.Get(e.Name)
		if !known && !script {
			p.add(s.file, e.Pos, schema.RuleWiring, schema.DidYouMean(e.Name, n.iface.Params.Names()), "step %q: %s has no param %q", n.name, n.mod.Ref, e.Name)
			continue
		}
		have, set, ok := p.paramValue(s, n, e)
		if !ok {
			continue
		}
		if script {
			want = schema.Param{Spec: have.Spec, Optional: !set || have.mayBeUnset()}
			n.iface.Params = append(n.iface.Params, schema.Entry[schema.Param]{Name: e.Name, Pos: e.Pos, Value: want})
		}
		if want.Required() && (!set || have.mayBeUnset()) {
			p.add(s.file, e.Value.Pos, schema.RuleValue, "", "step %q: param %q is required, but %v may be unset", n.name, e.Name, e.Value.Value)
			continue
		}
		if !set {
			continue
		}
		if have, ok = p.typed(s, n, e, want.Spec, have); ok {
			have.Default = want.Default
			out[e.Name] = have
		}
	}
	if script {
		return out
	}
	for _, e := range n.iface.Params {
		if _, given := n.def.Params.Get(e.Name); !given && e.Value.Required() {
			p.add(s.file, n.pos, schema.RuleWiring, fmt.Sprintf("set it: params: {%s: …}", e.Name), "step %q lacks the param %q (%s) of %s", n.name, e.Name, e.Value.TypeName(), n.mod.Ref)
		}
		if _, set := out[e.Name]; !set && e.Value.Default != nil {
			out[e.Name] = Param{Value: e.Value.Default, Spec: e.Value.Spec}
		}
	}
	return out
}

// typed checks a value, or the type of what will be one, against a param.
func (p *planner) typed(s *scope, n *node, e schema.Entry[schema.Arg], want schema.Spec, have Param) (Param, bool) {
	fail := func(err error) (Param, bool) {
		p.add(s.file, e.Value.Pos, schema.RuleValue, "", "step %q: param %q: %v", n.name, e.Name, err)
		return Param{}, false
	}
	if len(have.Parts) == 0 && !have.Sample {
		v, err := want.Check(have.Value)
		if err != nil {
			return fail(err)
		}
		return Param{Value: v, Spec: want}, true
	}
	if err := want.Accepts(have.Spec); err != nil {
		return fail(err)
	}
	have.Spec = want
	return have, true
}

// paramValue evaluates what a step gives a param, as far as the plan can: set
// is false when it names a param of the scope that is not set.
func (p *planner) paramValue(s *scope, n *node, e schema.Entry[schema.Arg]) (v Param, set, ok bool) {
	text, isText := e.Value.Value.(string)
	if !isText || !strings.Contains(text, "${{") {
		return Param{Value: normal(e.Value.Value), Spec: schema.SpecOf(e.Value.Value)}, true, true
	}
	t, terr := schema.ParseTemplate(text)
	if terr != nil {
		return Param{}, false, false // reported with the file
	}
	if ref, whole := t.Whole(); whole {
		return p.valueOf(s, n, e, ref)
	}
	var pieces []Piece
	known, sample := true, false
	for _, part := range t {
		if part.Ref == nil {
			pieces = append(pieces, Piece{Literal: part.Literal})
			continue
		}
		v, set, ok := p.valueOf(s, n, e, *part.Ref)
		if !ok || !set {
			return Param{}, set, ok
		}
		sample = sample || v.Sample
		if len(v.Parts) == 0 {
			pieces = append(pieces, Piece{Literal: schema.Render(v.Value)})
			continue
		}
		known = false
		pieces = append(pieces, v.Parts...)
	}
	spec := schema.Spec{Type: schema.TypeString}
	if !known {
		return Param{Parts: pieces, Spec: spec}, true, true
	}
	var b strings.Builder
	for _, piece := range pieces {
		b.WriteString(piece.Literal)
	}
	return Param{Value: b.String(), Spec: spec, Sample: sample}, true, true
}

// normal makes a value that code has built what a file would have given.
func normal(v any) any {
	switch x := v.(type) {
	case int:
		return int64(x)
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = normal(e)
		}
		return out
	}
	return v
}

// valueOf finds the value that an expression names.
func (p *planner) valueOf(s *scope, n *node, e schema.Entry[schema.Arg], ref schema.Ref) (v Param, set, ok bool) {
	pos := e.Value.Pos
	switch ref.Context {
	case "params":
		if !slices.Contains(s.paramNames, ref.Name) {
			p.add(s.file, pos, schema.RuleWiring, schema.DidYouMean(ref.Name, s.paramNames), "step %q: param %q: there is no param %q", n.name, e.Name, ref.Name)
			return Param{}, false, false
		}
		around, set := s.params[ref.Name]
		if len(around.Parts) > 0 {
			return Param{Parts: []Piece{{Of: &around}}, Whole: true, Spec: around.Spec}, true, true
		}
		return around, set, true
	case "env":
		if want, ok := n.iface.Params.Get(e.Name); ok && p.opt.Unbound && want.Type == schema.TypeString {
			return Param{Value: want.Sample(), Spec: schema.Spec{Type: schema.TypeString}, Sample: true}, true, true
		}
		return Param{Value: p.env(s, n, pos, ref.Name), Spec: schema.Spec{Type: schema.TypeString}}, true, true
	case "steps":
		src, out, ok := p.output(s, n, pos, ref)
		if !ok {
			return Param{}, false, false
		}
		if out.Type.IsData() {
			p.add(s.file, pos, schema.RuleWiring, "data goes into inputs", "step %q: param %q: %s is a %s, not a value", n.name, e.Name, ref, out.Type)
			return Param{}, false, false
		}
		return Param{Parts: []Piece{{From: src}}, Whole: true, Spec: out.Spec}, true, true
	}
	return Param{}, false, false // reported with the file
}

// stepSecrets names the secrets that a step is handed.
func (p *planner) stepSecrets(s *scope, n *node) map[string]string {
	out := map[string]string{}
	script := n.def.Run != nil
	for _, e := range n.def.Secrets {
		want, known := n.iface.Secrets.Get(e.Name)
		if !known && !script {
			p.add(s.file, e.Pos, schema.RuleSecret, schema.DidYouMean(e.Name, n.iface.Secrets.Names()), "step %q: %s declares no secret %q", n.name, n.mod.Ref, e.Name)
			continue
		}
		if script {
			n.iface.Secrets = append(n.iface.Secrets, schema.Entry[schema.Secret]{Name: e.Name, Pos: e.Pos})
		}
		t, terr := schema.ParseTemplate(e.Value.Value)
		if terr != nil {
			continue
		}
		ref, whole := t.Whole()
		if !whole || ref.Context != "secrets" {
			p.add(s.file, e.Value.Pos, schema.RuleSecret, "write ${{ secrets.NAME }}; a secret's value never stands in a file", "step %q: secret %q is not one expression", n.name, e.Name)
			continue
		}
		name := ref.Name
		if s.secrets != nil {
			outer, given := s.secrets[name]
			inner, declared := s.secretOf.Get(name)
			if !declared {
				p.add(s.file, e.Value.Pos, schema.RuleSecret, schema.DidYouMean(name, s.secretOf.Names()), "step %q: the module declares no secret %q", n.name, name)
				continue
			}
			if !given {
				if inner.Optional && !want.Optional && !script {
					p.add(s.file, e.Value.Pos, schema.RuleSecret, "", "step %q: secret %q is required, but %q may be unset", n.name, e.Name, name)
				}
				continue
			}
			name = outer
		}
		out[e.Name] = name
	}
	for _, e := range n.iface.Secrets {
		if _, given := n.def.Secrets.Get(e.Name); !given && !e.Value.Optional {
			p.add(s.file, n.pos, schema.RuleSecret, fmt.Sprintf("hand it over: secrets: {%s: \"${{ secrets.NAME }}\"}", e.Name), "step %q lacks the secret %q of %s", n.name, e.Name, n.mod.Ref)
		}
	}
	return out
}

// after adds the order that goes without data.
func (p *planner) after(s *scope, n *node) {
	for _, a := range n.def.After {
		before, ok := s.byName[a.Value]
		if !ok {
			p.add(s.file, a.Pos, schema.RuleWiring, schema.DidYouMean(a.Value, s.steps.Names()), "step %q: there is no step %q to come after", n.name, a.Value)
			continue
		}
		for _, later := range n.leaves() {
			for _, first := range before.leaves() {
				later.need(first)
			}
		}
	}
}

// leaves lists the executable steps of a node.
func (n *node) leaves() []*ModuleStep {
	if n.leaf != nil {
		return []*ModuleStep{n.leaf}
	}
	if n.inner == nil {
		return nil
	}
	var out []*ModuleStep
	for _, c := range n.inner.nodes {
		out = append(out, c.leaves()...)
	}
	return out
}

func (p *planner) pipelineOutputs(s *scope, pl *schema.Pipeline) {
	for _, e := range pl.Outputs {
		t, terr := schema.ParseTemplate(e.Value.Value)
		if terr != nil {
			continue
		}
		ref, whole := t.Whole()
		if !whole || ref.Context != "steps" {
			p.add(s.file, e.Value.Pos, schema.RuleWiring, "write ${{ steps.STEP.outputs.NAME }}", "output %q: %q is not one expression", e.Name, e.Value.Value)
			continue
		}
		src, out, ok := p.output(s, nil, e.Value.Pos, ref)
		if ok {
			out.From = schema.Text{}
			p.plan.Outputs = append(p.plan.Outputs, PlanOutput{e.Name, src, out})
		}
	}
}

// order puts every step after those that it needs, keeping the order in which
// they were written, and reports circles.
func (p *planner) order() {
	const (
		fresh = iota
		open
		done
	)
	state := make([]int8, len(p.plan.Steps))
	sorted := make([]*ModuleStep, 0, len(p.plan.Steps))
	var trail []*ModuleStep
	var visit func(st *ModuleStep)
	visit = func(st *ModuleStep) {
		switch state[st.index] {
		case done:
			return
		case open:
			i := slices.Index(trail, st)
			var names []string
			for _, t := range append(slices.Clone(trail[i:]), st) {
				names = append(names, t.Name)
			}
			p.add(p.plan.File, st.pos, schema.RuleCycle, "", "the steps wait for each other: %s", strings.Join(names, " → "))
			return
		}
		state[st.index] = open
		trail = append(trail, st)
		slices.SortFunc(st.Needs, func(a, b *ModuleStep) int { return a.index - b.index })
		for _, n := range st.Needs {
			visit(n)
		}
		trail = trail[:len(trail)-1]
		state[st.index] = done
		sorted = append(sorted, st)
	}
	for _, st := range p.plan.Steps {
		visit(st)
	}
	p.plan.Steps = sorted
	for i, st := range sorted {
		st.index = i
	}
}
