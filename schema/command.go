package schema

// FileName is the name under which data of a type is handed over, whatever name
// it had before: NAME.FORMAT.
func FileName(name string, t Type, format string) string {
	if format == "" || t == TypeFolder {
		return name
	}
	return name + "." + format
}

// Path is where the input of this name stands in the working directory.
func (in Input) Path(name string) string { return "inputs/" + FileName(name, in.Type, in.Format) }

// Path is where the output of this name is to be written in the working
// directory.
func (o Output) Path(name string) string { return "outputs/" + FileName(name, o.Type, o.Format) }

// DefaultCommand renders the command as a run without optional inputs and with
// the defaults of params has it. What must be given is left as it is written.
func (m *ModuleVersion) DefaultCommand() []string {
	if m.Run == nil {
		return nil
	}
	var argv []string
	for _, a := range m.Run.Command {
		texts, all := make([]string, len(a.Texts)), true
		for i, t := range a.Texts {
			tpl, err := ParseTemplate(t.Value)
			if err != nil {
				return nil // reported by the parser
			}
			text, set := tpl.Expand(m.defaultOf)
			texts[i], all = text, all && set
		}
		if all || !a.Nested {
			argv = append(argv, texts...)
		}
	}
	return argv
}

func (m *ModuleVersion) defaultOf(r Ref) (string, bool) {
	switch r.Context {
	case "inputs":
		in, _ := m.Inputs.Get(r.Name)
		return in.Path(r.Name), !in.Optional
	case "outputs":
		o, _ := m.Outputs.Get(r.Name)
		return o.Path(r.Name), true
	case "params":
		p, _ := m.Params.Get(r.Name)
		if p.Default != nil {
			return Render(p.Default), true
		}
		return r.Expr(), !p.Optional
	}
	return "", false
}
