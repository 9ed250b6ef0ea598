package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// EmptyTree is the digest of a snapshot without files.
const EmptyTree schema.Digest = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

// Compute is where tasks run.
type Compute interface {
	// Environment resolves what a step's command will find around it. What
	// decides the result is in its Key.
	Environment(ctx context.Context, s *ModuleStep, st *store.Store) (Environment, error)
	// Run executes the task once and returns its outputs, which are in the
	// store. A failure of the task is a *[StepError]; any other error is a
	// failure of the world.
	Run(ctx context.Context, x Execution) (map[string]store.Output, error)
}

// Environment is what a command finds around it.
type Environment struct {
	// Key is part of the task's key.
	Key EnvironmentKey
	// Machine says that the host itself decides the result, so that it is
	// reused on this machine only.
	Machine bool
	// Handle is the compute's own.
	Handle any
}

// EnvironmentKey is the part of a key that tells the environment.
type EnvironmentKey struct {
	Host     bool       `json:"host,omitempty"`
	Python   *PythonKey `json:"python,omitempty"`
	Platform string     `json:"platform"` // os/architecture
}

// PythonKey tells an interpreter and its packages.
type PythonKey struct {
	Implementation string        `json:"implementation"`
	Version        string        `json:"version"` // in full
	Requirements   schema.Digest `json:"requirements,omitempty"`
}

// Execution is all that a compute needs to execute a task once.
type Execution struct {
	Task  *Task
	Store *store.Store
	// Log takes what the command prints.
	Log io.Writer
	// Secrets are the values of the step's secrets; an unset one is missing.
	Secrets map[string]string
	// GPUs are the devices leased to the task.
	GPUs []string
}

// StepError says that a task failed by its own fault.
type StepError struct {
	Reason   string // exit, timeout, start, output, input, param
	ExitCode int    // with exit
	Message  string
	Hint     string
}

func (e *StepError) Error() string { return e.Message }

// Document is what a task's key is the digest of: all that decides its result,
// and nothing else.
type Document struct {
	Task        string               `json:"task"` // the version of this format
	Snapshot    schema.Digest        `json:"snapshot"`
	Command     []schema.Argument    `json:"command"` // as written
	Params      map[string]ParamKey  `json:"params,omitempty"`
	Inputs      map[string]InputKey  `json:"inputs,omitempty"`
	Env         map[string]string    `json:"env,omitempty"`
	Environment EnvironmentKey       `json:"environment"`
	Outputs     map[string]OutputKey `json:"outputs,omitempty"`
}

// ParamKey is a param in a key.
type ParamKey struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// InputKey is an input in a key: what it is handed over as, and its content.
type InputKey struct {
	Type   schema.Type   `json:"type"`
	Format string        `json:"format,omitempty"`
	Digest schema.Digest `json:"digest"`
}

// OutputKey is an output in a key.
type OutputKey struct {
	schema.Spec
	Format   string `json:"format,omitempty"`
	Optional bool   `json:"optional,omitempty"`
}

// Task is one step made concrete.
type Task struct {
	Step        *ModuleStep
	Key         schema.Digest
	Document    []byte
	Scope       store.Scope
	Inputs      map[string]store.Object
	Params      map[string]any
	Environment Environment
}

// newTask makes a step concrete.
func newTask(s *ModuleStep, inputs map[string]store.Object, params map[string]any, env Environment) (*Task, error) {
	doc := Document{
		Task: schema.APIVersion, Snapshot: s.Snapshot.Digest, Command: s.Run.Command, Environment: env.Key,
		Params: make(map[string]ParamKey, len(params)), Inputs: make(map[string]InputKey, len(inputs)), Outputs: make(map[string]OutputKey, len(s.Outputs)),
	}
	if len(s.Env) > 0 {
		doc.Env = make(map[string]string, len(s.Env))
		for name, t := range s.Env {
			doc.Env[name] = escaped(t)
		}
	}
	for name, v := range params {
		doc.Params[name] = ParamKey{s.Values[name].Spec.TypeName(), v}
	}
	for _, in := range s.Inputs {
		if o, set := inputs[in.Name]; set {
			doc.Inputs[in.Name] = InputKey{in.Value.Type, in.Value.Format, o.Digest}
		}
	}
	for _, o := range s.Outputs {
		doc.Outputs[o.Name] = OutputKey{o.Value.Spec, o.Value.Format, o.Value.Optional}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("cannot make the key of step %q: %w", s.Name, err)
	}
	return &Task{
		Step: s, Key: schema.DigestBytes(data), Document: data, Inputs: inputs, Params: params, Environment: env,
		Scope: store.Scope{Machine: env.Machine},
	}, nil
}

// Command renders the command: paths are relative to the working directory, a
// nested list is dropped when what it names is not set.
func (t *Task) Command() ([]string, error) {
	var argv []string
	for _, a := range t.Step.Run.Command {
		var texts []string
		all := true
		for _, text := range a.Texts {
			s, set, err := t.expand(text.Value, nil)
			if err != nil {
				return nil, err
			}
			texts, all = append(texts, s), all && set
		}
		if all {
			argv = append(argv, texts...)
		} else if !a.Nested {
			return nil, &StepError{Reason: "start", Message: fmt.Sprintf("the argument %q names what is not set", a.Texts[0].Value)}
		}
	}
	return argv, nil
}

// Env renders the declared environment variables; one that names what is not
// set is dropped.
func (t *Task) Env(secrets map[string]string) map[string]string {
	out := make(map[string]string, len(t.Step.Env))
	for name, text := range t.Step.Env {
		if s, set := t.expandTemplate(text, secrets); set {
			out[name] = s
		}
	}
	return out
}

func (t *Task) expand(text string, secrets map[string]string) (string, bool, error) {
	if !strings.Contains(text, "${{") {
		return text, true, nil
	}
	tpl, err := schema.ParseTemplate(text)
	if err != nil {
		return "", false, &StepError{Reason: "start", Message: err.Message}
	}
	s, set := t.expandTemplate(tpl, secrets)
	return s, set, nil
}

func (t *Task) expandTemplate(tpl schema.Template, secrets map[string]string) (string, bool) {
	return tpl.Expand(func(r schema.Ref) (string, bool) {
		switch r.Context {
		case "inputs":
			in, _ := t.Step.Inputs.Get(r.Name)
			_, set := t.Inputs[r.Name]
			return in.Path(r.Name), set
		case "outputs":
			o, known := t.Step.Outputs.Get(r.Name)
			return o.Path(r.Name), known
		case "params":
			v, set := t.Params[r.Name]
			return schema.Render(v), set
		case "secrets":
			v, set := secrets[r.Name]
			return v, set
		}
		return "", false
	})
}

// escaped writes a template so that a text that looks like an expression is
// told from one in a key.
func escaped(t schema.Template) string {
	var b strings.Builder
	for _, p := range t {
		if p.Ref != nil {
			b.WriteString(p.Ref.Expr())
		} else {
			b.WriteString(strings.ReplaceAll(p.Literal, "${{", "$${{"))
		}
	}
	return b.String()
}

// value reads a value output of a result.
func value(o store.Output, spec schema.Spec) (any, error) {
	if spec.Type == schema.TypeString {
		var s string
		err := json.Unmarshal(o.Value, &s)
		return s, err
	}
	return spec.Parse(string(o.Value))
}

// resolveParams gives the params of a step their values, now that the steps
// before it are done.
func (s *ModuleStep) resolveParams(output func(Source) (any, bool, error)) (map[string]any, error) {
	out := make(map[string]any, len(s.Values))
	for _, name := range slices.Sorted(maps.Keys(s.Values)) { // the first problem is always the same
		v, set, err := s.Values[name].resolve(output)
		if bad, ok := errors.AsType[*valueError](err); ok {
			return nil, &StepError{Reason: "param", Message: fmt.Sprintf("param %q: %v", name, bad.error)}
		}
		if err != nil {
			return nil, err
		}
		if decl, _ := s.Params.Get(name); !set && !decl.Optional {
			return nil, &StepError{Reason: "param", Message: fmt.Sprintf("the param %q is required, but its source was not written", name)}
		}
		if set {
			out[name] = v
		}
	}
	return out, nil
}

// valueError says that a value is not what a param allows.
type valueError struct{ error }

func (p Param) resolve(output func(Source) (any, bool, error)) (any, bool, error) {
	if len(p.Parts) == 0 {
		return p.Value, true, nil
	}
	v, set, err := p.compose(output)
	if err != nil {
		return nil, false, err
	}
	if !set {
		return p.Default, p.Default != nil, nil
	}
	if v, err = p.Spec.Check(v); err != nil {
		return nil, false, &valueError{err}
	}
	return v, true, nil
}

// compose puts the parts of the value together.
func (p Param) compose(output func(Source) (any, bool, error)) (any, bool, error) {
	var b strings.Builder
	for _, piece := range p.Parts {
		var v any = piece.Literal
		set, err := true, error(nil)
		switch {
		case piece.Of != nil:
			v, set, err = piece.Of.resolve(output)
		case piece.From.Step != nil:
			v, set, err = output(piece.From)
		}
		if p.Whole || err != nil || !set {
			return v, set, err
		}
		b.WriteString(schema.Render(v))
	}
	return b.String(), true, nil
}

// stepFailure returns the error as a *StepError when it is one.
func stepFailure(err error) (*StepError, bool) { return errors.AsType[*StepError](err) }
