package schema

import (
	"fmt"
	"strings"
)

// Ref is what an expression names.
type Ref struct {
	Context string // inputs, outputs, params, secrets, env, steps
	Step    string // with steps: the step
	Name    string
	Offset  int // where the expression begins, in characters
}

// String gives the expression without its braces.
func (r Ref) String() string {
	if r.Context == "steps" {
		return "steps." + r.Step + ".outputs." + r.Name
	}
	return r.Context + "." + r.Name
}

// Expr gives the expression: ${{ inputs.data }}.
func (r Ref) Expr() string { return "${{ " + r.String() + " }}" }

// Part is a literal text or, when Ref is set, an expression.
type Part struct {
	Literal string
	Ref     *Ref
}

// Template is a text with expressions in it.
type Template []Part

// ExprError says what is wrong with an expression and where.
type ExprError struct {
	Offset        int // in characters from the beginning of the text
	Message, Hint string
}

func (e *ExprError) Error() string { return e.Message }

var contexts = []string{"inputs", "outputs", "params", "steps", "secrets", "env"}

// ParseTemplate reads a text with ${{ … }} expressions.
func ParseTemplate(s string) (Template, *ExprError) {
	if !strings.Contains(s, "${{") {
		if s == "" {
			return nil, nil
		}
		return Template{{Literal: s}}, nil
	}
	var t Template
	offset := 0
	for s != "" {
		before, rest, found := strings.Cut(s, "${{")
		if before != "" {
			t = append(t, Part{Literal: before})
		}
		if !found {
			break
		}
		offset += len([]rune(before))
		body, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, &ExprError{offset, "the expression has no end", "end it with }}"}
		}
		ref, err := parseRef(strings.TrimSpace(body))
		if err != nil {
			err.Offset = offset
			return nil, err
		}
		ref.Offset = offset
		t = append(t, Part{Ref: ref})
		offset += len([]rune("${{" + body + "}}"))
		s = after
	}
	return t, nil
}

func parseRef(body string) (*Ref, *ExprError) {
	const forms = "an expression is inputs.NAME, params.NAME, outputs.NAME, steps.STEP.outputs.NAME, secrets.NAME or env.NAME"
	fields := strings.Split(body, ".")
	bad := func(hint string) (*Ref, *ExprError) {
		return nil, &ExprError{0, fmt.Sprintf("%q is no expression", clip(body)), hint}
	}
	if body == "" {
		return nil, &ExprError{0, "the expression is empty", forms}
	}
	context := fields[0]
	known := false
	for _, c := range contexts {
		known = known || c == context
	}
	if !known {
		if len(fields) > 1 && len(Nearest(context, contexts)) > 0 {
			return bad(DidYouMean(context, contexts))
		}
		return bad(forms)
	}
	for _, f := range fields[1:] {
		if !ValidIdent(f) && (context != "env" || !validEnv(f)) {
			return bad(forms)
		}
	}
	switch {
	case context == "steps" && len(fields) == 4 && fields[2] == "outputs":
		return &Ref{Context: context, Step: fields[1], Name: fields[3]}, nil
	case context == "steps" && len(fields) == 3:
		return bad(fmt.Sprintf("did you mean \"steps.%s.outputs.%s\"?", fields[1], fields[2]))
	case context != "steps" && len(fields) == 2:
		return &Ref{Context: context, Name: fields[1]}, nil
	}
	return bad(forms)
}

// Refs lists the expressions.
func (t Template) Refs() []Ref {
	var refs []Ref
	for _, p := range t {
		if p.Ref != nil {
			refs = append(refs, *p.Ref)
		}
	}
	return refs
}

// Whole returns the expression when the text is one expression and nothing
// else, so that it keeps its type.
func (t Template) Whole() (Ref, bool) {
	if len(t) == 1 && t[0].Ref != nil {
		return *t[0].Ref, true
	}
	return Ref{}, false
}

// Expand writes the text with each expression replaced by what value gives;
// ok is false when one of them is not set.
func (t Template) Expand(value func(Ref) (string, bool)) (text string, ok bool) {
	var b strings.Builder
	for _, p := range t {
		if p.Ref == nil {
			b.WriteString(p.Literal)
			continue
		}
		s, set := value(*p.Ref)
		if !set {
			return "", false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

// String writes the text as it may be parsed again.
func (t Template) String() string {
	var b strings.Builder
	for _, p := range t {
		if p.Ref != nil {
			b.WriteString(p.Ref.Expr())
		} else {
			b.WriteString(p.Literal)
		}
	}
	return b.String()
}

// ModuleRef is what a step names: REGISTRY/NAME@SELECTOR.
type ModuleRef struct {
	Registry string // empty: this registry's
	Name     string
	Selector string // without @; empty: the module's default
	// Image is an OCI image by its digest instead, HOST/PATH[:TAG]@sha256:…
	// All else is empty then.
	Image string
}

// String gives REGISTRY/NAME@SELECTOR without what is empty.
func (r ModuleRef) String() string {
	if r.Image != "" {
		return ociScheme + r.Image
	}
	s := r.Name
	if r.Registry != "" {
		s = r.Registry + "/" + s
	}
	if r.Selector != "" {
		s += "@" + r.Selector
	}
	return s
}

const ociScheme = "oci://"

// ParseStepRef reads what a step of a pipeline names: what [ParseModuleRef]
// reads, or oci://HOST/PATH[:TAG]@sha256:…
func ParseStepRef(s string) (ModuleRef, error) {
	image, ok := strings.CutPrefix(s, ociScheme)
	if !ok {
		return ParseModuleRef(s)
	}
	path, digest, _ := strings.Cut(image, "@")
	if !Digest(digest).Valid() {
		return ModuleRef{}, fmt.Errorf("%q does not end with the image's digest, @sha256:…", clip(s))
	}
	if host, rest, _ := strings.Cut(path, "/"); host == "" || rest == "" {
		return ModuleRef{}, fmt.Errorf("%q is not oci://HOST/PATH@sha256:…", clip(s))
	}
	return ModuleRef{Image: image}, nil
}

// ParseModuleRef reads REGISTRY/NAME@SELECTOR; whether the selector means
// something is the registry's to say.
func ParseModuleRef(s string) (ModuleRef, error) {
	var r ModuleRef
	path, selector, has := strings.Cut(s, "@")
	r.Selector = strings.TrimSpace(selector)
	if has && r.Selector == "" {
		return r, fmt.Errorf("%q has nothing after the @", clip(s))
	}
	if reg, name, ok := strings.Cut(path, "/"); ok {
		r.Registry, r.Name = reg, name
		if !ValidName(reg) {
			return r, fmt.Errorf("%q does not begin with the name of a registry", clip(s))
		}
	} else {
		r.Name = path
	}
	if !ValidName(r.Name) {
		return r, fmt.Errorf("%q does not name a module", clip(s))
	}
	return r, nil
}
