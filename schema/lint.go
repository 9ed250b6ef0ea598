package schema

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// linter applies the rules that a JSON Schema cannot say and that need nothing
// but the one file.
type linter struct {
	file  string
	doc   *document
	diags Diagnostics

	src *source // of the text, once it is needed
}

func (l *linter) add(pos Pos, rule Rule, hint, format string, args ...any) {
	l.diags.Add(l.file, pos, rule, hint, format, args...)
}

// place finds the node at a path of keys and indices, or what of it there is.
func (l *linter) place(path ...string) Pos { return nodePos(l.doc.at(path)) }

// offset is the place of the expression that begins n characters into t.
func (l *linter) offset(t Text, n int) Pos {
	if l.src == nil {
		l.src = newSource(l.doc.data)
	}
	return l.src.expression(t, n)
}

// unique reports names that differ only by case or by - and _.
func unique[T any](l *linter, what string, m Map[T]) {
	seen := make(map[string]string, len(m))
	for _, e := range m {
		f := Fold(e.Name)
		if first, dup := seen[f]; dup {
			l.add(e.Pos, RuleNames, "rename one of them", "the %s %q and %q differ only by case or by - and _", what, clip(first), clip(e.Name))
			continue
		}
		seen[f] = e.Name
	}
}

func (l *linter) module(m *Module) {
	const hint = "set state: deprecated or state: disabled, or drop it"
	check := func(what string, lc Lifecycle) {
		switch {
		case lc.State != "" && lc.Reason == "":
			l.add(lc.StatePos, RuleState, "people who use it will read the reason", "%s is %s without a reason", what, lc.State)
		case lc.State == "" && lc.Reason != "":
			l.add(lc.ReasonPos, RuleState, hint, "%s has a reason but is active", what)
		case lc.State == "" && lc.Use != "":
			l.add(lc.UsePos, RuleState, hint, "%s has a replacement but is active", what)
		}
	}
	check("the module", m.Lifecycle)
	for _, v := range m.Versions {
		if v.Value.StatePos != (Pos{}) {
			check("version "+clip(v.Name), v.Value)
		}
		if v.Value.Use != "" && v.Value.Use == v.Name {
			l.add(v.Value.UsePos, RuleState, "", "version %s is to be replaced by itself", clip(v.Name))
		}
	}
}

func (l *linter) moduleTest(t *ModuleTest) {
	if v := t.Versions; v.Value != "" {
		if _, err := semver.NewConstraint(v.Value); err != nil {
			l.add(v.Pos, RuleSelector, "a range is such as ^2, 2.1 or \">=1.2 <3\"", "%q is no range of versions", clip(v.Value))
		}
	}
	for _, in := range t.Inputs {
		l.path(in.Value)
	}
	for _, o := range t.Outputs {
		l.path(o.Value.File)
		l.path(o.Value.JSON)
	}
	if t.Exit != 0 && len(t.Outputs) > 0 {
		l.add(t.Outputs[0].Pos, RuleSchema, "a command that fails leaves no outputs", "outputs are expected of a command that is to fail")
	}
}

func (l *linter) moduleVersion(m *ModuleVersion) {
	l.iface(m.Interface)
	for _, o := range m.Outputs {
		if m.Run != nil && o.Value.From.Value != "" {
			l.add(o.Value.From.Pos, RuleInterface, "from is for modules with steps; a command writes its outputs", "output %q has \"from\", but the module has a command", o.Name)
		}
		if m.Run == nil && len(m.Steps) > 0 && o.Value.From.Value == "" {
			l.add(o.Pos, RuleInterface, "write from: ${{ steps.STEP.outputs.NAME }}", "output %q does not say which step it comes from", o.Name)
		}
		l.expression(o.Value.From, "steps")
	}
	if m.Run != nil {
		l.run(m.Run, m.Interface, false)
		if m.Snapshot == nil {
			l.add(m.Run.Pos, RuleSnapshot, "add snapshot: {folder: ../src}", "the version has a command and no snapshot")
		}
		if len(m.Registries) > 0 && (m.Snapshot == nil || !strings.Contains(m.Snapshot.Version.Value, "/")) {
			l.add(m.Registries[0].Pos, RuleSchema, "registries are for modules with steps", "a module with a command uses no registries")
		}
	} else {
		if m.Snapshot != nil && len(m.Steps) > 0 {
			l.add(m.Snapshot.Pos, RuleSnapshot, "its steps have their own", "a module that is a pipeline has no snapshot")
		}
		l.steps(m.Steps, true)
	}
	l.snapshot(m.Snapshot)
}

func (l *linter) iface(i Interface) {
	unique(l, "inputs", i.Inputs)
	unique(l, "outputs", i.Outputs)
	unique(l, "params", i.Params)
	unique(l, "secrets", i.Secrets)
	for _, p := range i.Params {
		l.param(p)
	}
	for _, o := range i.Outputs {
		l.output(o)
	}
}

// output checks one output, of the step that path leads to, or of the module.
func (l *linter) output(o Entry[Output], path ...string) {
	path = append(path, "outputs", o.Name)
	l.spec("output", path, o.Value.Spec)
	if o.Value.Format != "" && !o.Value.Type.IsData() && o.Value.Type != "" {
		l.add(l.place(append(path, "format")...), RuleInterface, "drop it: a value has no format", "output %q is a value and has a format", o.Name)
	}
}

// spec checks that constraints fit their type.
func (l *linter) spec(what string, path []string, s Spec) {
	name := path[len(path)-1]
	at := func(keys ...string) Pos { return l.place(slices.Concat(path, keys)...) }
	element := s.Type
	if s.Type == TypeList {
		element = s.items()
	} else if s.Items != "" && s.Type != "" {
		l.add(at("items"), RuleInterface, "items goes with type: list", "%s %q has items, but its type is %s", what, name, s.Type)
	}
	numeric := element == TypeInteger || element == TypeNumber
	for key, bound := range map[string]*float64{"minimum": s.Minimum, "maximum": s.Maximum, "exclusiveMinimum": s.ExclusiveMinimum, "exclusiveMaximum": s.ExclusiveMaximum} {
		if bound != nil && !numeric && element != "" {
			l.add(at(key), RuleInterface, "bounds go with integers and numbers", "%s %q has a bound, but its type is %s", what, name, s.TypeName())
		}
	}
	if low, high := s.bounds(); numeric && low > high {
		l.add(at(), RuleInterface, "", "no value of %s %q can keep its bounds", what, name)
	}
	if s.Pattern != "" {
		if element != TypeString && element != "" {
			l.add(at("pattern"), RuleInterface, "a pattern goes with strings", "%s %q has a pattern, but its type is %s", what, name, s.TypeName())
		}
		if _, err := compile(s.Pattern); err != nil {
			l.add(at("pattern"), RuleInterface, "the syntax is RE2's", "the pattern of %s %q is no regular expression: %q", what, name, clip(s.Pattern))
		}
	}
	if s.Type.IsData() && len(s.Enum) > 0 {
		l.add(at("enum"), RuleInterface, "", "%s %q is a %s and has an enum", what, name, s.Type)
		return
	}
	for i, e := range s.Enum {
		if _, err := (Spec{Type: element}).Check(e); err != nil && element != "" {
			l.add(at("enum", strconv.Itoa(i)), RuleInterface, "", "the enum of %s %q: %v", what, name, err)
		}
	}
}

func (l *linter) param(p Entry[Param]) {
	l.spec("param", []string{"params", p.Name}, p.Value.Spec)
	if p.Value.Default == nil || p.Value.Type == "" {
		return
	}
	if _, err := p.Value.Check(p.Value.Default); err != nil {
		l.add(l.place("params", p.Name, "default"), RuleInterface, "", "the default of param %q: %v", p.Name, err)
	}
	if p.Value.Optional {
		l.add(l.place("params", p.Name, "optional"), RuleInterface, "drop one of them", "param %q has a default and is optional", p.Name)
	}
}

// expression checks one text and returns what it names.
func (l *linter) expression(t Text, allowed ...string) []Ref {
	tpl, err := ParseTemplate(t.Value)
	if err != nil {
		l.add(l.offset(t, err.Offset), RuleExpression, err.Hint, "%s", err.Message)
		return nil
	}
	refs := tpl.Refs()
	for _, r := range refs {
		if !slices.Contains(allowed, r.Context) {
			l.add(l.offset(t, r.Offset), RuleExpression, contextHint(r.Context, allowed),
				"%s cannot stand here", r.Expr())
		}
	}
	return refs
}

func contextHint(context string, allowed []string) string {
	switch context {
	case "secrets":
		return "a secret reaches a step through its secrets and run.env alone"
	case "env":
		return "environment variables are read in pipelines only, in params and in the env of a script step"
	}
	var forms []string
	for _, a := range allowed {
		forms = append(forms, Ref{Context: a, Step: "STEP", Name: "NAME"}.String())
	}
	return "here may stand " + QuoteList(forms, "or")
}

// run checks the command and the environment against the interface: every
// name is known, and what may be unset stands where it can be dropped.
func (l *linter) run(r *Run, i Interface, script bool) {
	used := map[string]bool{}
	check := func(t Text, nested bool, allowed ...string) {
		for _, ref := range l.expression(t, allowed...) {
			if !slices.Contains(allowed, ref.Context) {
				continue
			}
			names, known, optional := i.lookup(ref)
			used[ref.String()] = true
			switch {
			case ref.Context != "env" && !known:
				l.add(l.offset(t, ref.Offset), RuleExpression, DidYouMean(ref.Name, names()), "%s names no %s of this %s", ref.Expr(), strings.TrimSuffix(ref.Context, "s"), stepOrModule(script))
			case optional && !nested:
				l.add(l.offset(t, ref.Offset), RuleOptional, "put it into a nested list, which is dropped when the "+strings.TrimSuffix(ref.Context, "s")+" is not set: [--flag, \""+ref.Expr()+"\"]",
					"%s may be unset", ref.Expr())
			}
		}
	}
	for _, a := range r.Command {
		for _, t := range a.Texts {
			check(t, a.Nested, "inputs", "outputs", "params")
		}
	}
	allowed := []string{"inputs", "outputs", "params", "secrets"}
	if script {
		allowed = append(allowed, "env")
	}
	for _, e := range r.Env {
		check(e.Value, true, allowed...)
		if reservedEnv(e.Name) {
			l.add(e.Pos, RuleEnv, "modyard sets it for every step", "the variable %s cannot be set", e.Name)
		}
	}
	if p := r.Environment.Python; p != nil {
		l.path(p.Requirements)
	}
	if len(r.Command) == 0 {
		return // the schema said so
	}
	if first := r.Command[0]; len(first.Texts) > 0 && (first.Nested || first.Texts[0].Value == "") {
		l.add(first.Texts[0].Pos, RuleSchema, "begin the command with a program", "the command begins without a program")
	}
	for _, p := range i.Params {
		if !used["params."+p.Name] {
			l.diags.Warn(l.file, p.Pos, RuleUnused, "name it in run.command or run.env: ${{ params."+p.Name+" }}", "param %q reaches neither the command nor its environment", p.Name)
		}
	}
	for _, s := range i.Secrets {
		if !used["secrets."+s.Name] {
			l.diags.Warn(l.file, s.Pos, RuleUnused, "name it in run.env: ${{ secrets."+s.Name+" }}", "secret %q does not reach the command", s.Name)
		}
	}
}

func stepOrModule(script bool) string {
	if script {
		return "step"
	}
	return "module"
}

func reservedEnv(name string) bool {
	switch name {
	case "PATH", "HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV":
		return true
	}
	return strings.HasPrefix(name, "MODYARD_")
}

// lookup tells which names the context of r has, whether r is one of them, and
// whether it may be unset.
func (i Interface) lookup(r Ref) (names func() []string, known, optional bool) {
	switch r.Context {
	case "inputs":
		in, ok := i.Inputs.Get(r.Name)
		return i.Inputs.Names, ok, in.Optional
	case "outputs":
		_, ok := i.Outputs.Get(r.Name)
		return i.Outputs.Names, ok, false
	case "params":
		p, ok := i.Params.Get(r.Name)
		return i.Params.Names, ok, p.Optional && p.Default == nil
	case "secrets":
		s, ok := i.Secrets.Get(r.Name)
		return i.Secrets.Names, ok, s.Optional
	}
	return func() []string { return nil }, false, false
}

// path refuses a path that leaves the folder it is relative to.
func (l *linter) path(t Text) {
	if t.Value == "" {
		return
	}
	if strings.HasPrefix(t.Value, "/") || strings.Contains(t.Value, "\\") || slices.Contains(strings.Split(t.Value, "/"), "..") {
		l.add(t.Pos, RulePath, "give a path inside the snapshot, with /", "the path %q leaves its folder", clip(t.Value))
	}
}

// origin checks where files outside the repository come from.
func (l *linter) origin(s *Snapshot) {
	switch {
	case s.Git != nil:
		l.path(s.Git.Path)
		u := s.Git.URL
		switch parsed, err := url.Parse(u.Value); {
		case strings.HasPrefix(u.Value, "-") || strings.Contains(u.Value, "::"):
			l.add(u.Pos, RuleSnapshot, "https://HOST/PATH or ssh://HOST/PATH", "%q is no address of a repository", clip(u.Value))
		case err == nil && parsed.User != nil && parsed.Scheme != "ssh":
			l.add(u.Pos, RuleSnapshot, "git asks for credentials where it runs", "the address of the repository holds a user or password")
		}
	case s.Image != nil:
		l.path(Text{strings.TrimPrefix(s.Image.Path.Value, "/"), s.Image.Path.Pos})
		if s.IsEnvironment() && s.Digest != "" {
			l.add(s.Pos, RuleSnapshot, "drop the digest, or name a path in the image", "an image that is the environment has no files to have a digest")
		}
	case s.Archive != nil:
		l.path(s.Archive.Path)
		if u, err := url.Parse(s.Archive.URL.Value); err != nil || u.Scheme == "https" && u.Host == "" {
			l.add(s.Archive.URL.Pos, RuleSnapshot, "https://HOST/PATH or file:///PATH", "%q is no address of an archive", clip(s.Archive.URL.Value))
		} else if u.User != nil {
			l.add(s.Archive.URL.Pos, RuleSnapshot, "publish it where no password is needed, or use another origin", "the address of the archive holds a user or password")
		}
	case s.AzureDevOps != nil:
		l.path(s.AzureDevOps.Path)
	case s.Version.Value != "":
		ref, err := ParseModuleRef(s.Version.Value)
		if err != nil || !ValidVersion(ref.Selector) {
			l.add(s.Version.Pos, RuleSnapshot, "write MODULE@1.2.3", "%q names no exact version", clip(s.Version.Value))
		}
	}
}

func (l *linter) registry(r *Registry) {
	p := r.Policy
	if r.Index == "oci" && r.Images == "" {
		l.add(l.place("index"), RuleSchema, "add images: HOST/PREFIX", "the index is beside the images, and there are none")
	}
	for _, k := range p.Keys {
		l.path(k)
	}
	for _, id := range p.Identities {
		if _, err := regexp.Compile(id.Subject.Value); err != nil {
			l.add(id.Subject.Pos, RulePolicy, "", "the subject %q is no regular expression", clip(id.Subject.Value))
		}
	}
	if p.Signatures == "required" && !p.Signers() {
		l.add(l.place("policy"), RulePolicy, "add keys: [KEY.pub], or identities", "signatures are required, but nobody may sign")
	}
}

func (l *linter) snapshot(s *Snapshot) {
	if s == nil {
		return
	}
	l.origin(s)
	if s.Folder.Value == "" {
		return
	}
	if strings.HasPrefix(s.Folder.Value, "/") || strings.Contains(s.Folder.Value, "\\") {
		l.add(s.Folder.Pos, RulePath, "give a path relative to this file, with /", "the folder %q is not relative", clip(s.Folder.Value))
	}
}

func (l *linter) pipeline(p *Pipeline) {
	unique(l, "params", p.Params)
	unique(l, "inputs", p.Inputs)
	unique(l, "outputs", p.Outputs)
	for _, e := range p.Params {
		l.param(e)
	}
	for _, o := range p.Outputs {
		l.expression(o.Value, "steps")
	}
	l.steps(p.Steps, false)
}

// steps checks each step by itself; how they fit together is for the plan.
func (l *linter) steps(steps Map[Step], nested bool) {
	unique(l, "steps", steps)
	values := []string{"inputs", "steps"}
	args := []string{"params", "steps", "env"}
	if nested {
		args = args[:2]
	}
	for i := range steps {
		name, s, pos := steps[i].Name, &steps[i].Value, steps[i].Pos
		for _, in := range s.Inputs {
			l.expression(in.Value, values...)
		}
		for _, p := range s.Params {
			l.arg(p.Value, args)
		}
		for _, sec := range s.Secrets {
			l.expression(sec.Value, "secrets")
		}
		if s.Run != nil {
			l.script(name, pos, s, nested)
			continue
		}
		if len(s.Outputs) > 0 {
			l.add(s.Outputs[0].Pos, RuleInterface, "a module declares its own outputs", "step %q has a module and declares outputs", name)
		}
		if s.Snapshot != nil {
			l.add(s.Snapshot.Pos, RuleSnapshot, "a module has its own snapshot", "step %q has a module and a snapshot", name)
		}
		if s.Module.Value == "" {
			continue
		}
		parse := ParseStepRef
		if nested {
			parse = ParseModuleRef // what a version nests is in git
		}
		if _, err := parse(s.Module.Value); err != nil {
			l.add(s.Module.Pos, RuleSelector, "write NAME, REGISTRY/NAME or REGISTRY/NAME@VERSION", "%v", err)
		}
	}
}

// script checks a script step, whose interface is what it writes down.
func (l *linter) script(name string, pos Pos, s *Step, nested bool) {
	if nested {
		l.add(pos, RuleNested, "make it a module: modyard new version --from PIPELINE#STEP", "step %q of a module has a command of its own", name)
	}
	if s.Digest.Value != "" {
		l.add(s.Digest.Pos, RuleSnapshot, "", "step %q has no module, so it has no version digest", name)
	}
	iface := Interface{Outputs: s.Outputs}
	unique(l, "outputs", s.Outputs)
	unique(l, "inputs", s.Inputs)
	unique(l, "params", s.Params)
	for _, o := range s.Outputs {
		l.output(o, "steps", name)
	}
	for _, e := range s.Inputs {
		iface.Inputs = append(iface.Inputs, Entry[Input]{e.Name, e.Pos, Input{}})
	}
	for _, e := range s.Params {
		iface.Params = append(iface.Params, Entry[Param]{e.Name, e.Pos, Param{}})
	}
	for _, e := range s.Secrets {
		iface.Secrets = append(iface.Secrets, Entry[Secret]{e.Name, e.Pos, Secret{}})
	}
	l.run(s.Run, iface, true)
	l.snapshot(s.Snapshot)
}

func (l *linter) arg(a Arg, allowed []string) {
	switch v := a.Value.(type) {
	case string:
		l.expression(Text{v, a.Pos}, allowed...)
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok && strings.Contains(s, "${{") {
				l.add(a.Pos, RuleExpression, "wire the whole list with one expression", "an element of a list holds an expression")
				return
			}
		}
	}
}
