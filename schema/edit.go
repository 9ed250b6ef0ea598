package schema

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Edit changes a YAML text in place: comments, order, quoting and empty lines
// of all that is not changed stay as they are. An edit that would change more
// than it was asked to is an error, and leaves the text as it was.
type Edit struct{ data []byte }

// NewEdit begins to change a text.
func NewEdit(data []byte) *Edit { return &Edit{bytes.Clone(data)} }

// Bytes is the text with all changes made so far.
func (e *Edit) Bytes() []byte { return e.data }

// Set gives the mapping at path[:len-1] the entry path[len-1] with a value
// written as YAML: one line, or a block mapping without indentation. What is
// missing of the path is made.
func (e *Edit) Set(value string, path ...string) error {
	root, err := parseMapping(e.data)
	if err != nil {
		return fmt.Errorf("cannot edit: %w", err)
	}
	var v yaml.Node
	if err := yaml.Unmarshal([]byte(value), &v); err != nil || len(v.Content) != 1 {
		return fmt.Errorf("cannot set %s: %q is no value in YAML", strings.Join(path, "."), clip(value))
	}
	want := with(plain(root), plain(v.Content[0]), path)
	parent, depth := descend(root, path)
	key, rest := path[depth], path[depth+1:]
	for i := len(rest) - 1; i >= 0; i-- {
		value = Scalar(rest[i]) + ":" + after(value)
	}
	if parent.Kind != yaml.MappingNode {
		return fmt.Errorf("cannot set %s: %s is no mapping", strings.Join(path, "."), strings.Join(path[:depth], "."))
	}
	changed, err := e.put(parent, key, value)
	if err != nil {
		return fmt.Errorf("cannot set %s: %w", strings.Join(path, "."), err)
	}
	return e.accept(changed, want)
}

// with is the plain value m with a value at path, made as far as it is missing.
func with(m, value any, path []string) any {
	if len(path) == 0 {
		return value
	}
	out := maps.Clone(asMap(m))
	if out == nil {
		out = map[string]any{}
	}
	out[path[0]] = with(out[path[0]], value, path[1:])
	return out
}

// without is the plain value m without what is at path, nor the mappings that
// it leaves empty.
func without(m any, path []string) map[string]any {
	out := maps.Clone(asMap(m))
	if len(path) > 1 {
		if rest := without(out[path[0]], path[1:]); len(rest) > 0 {
			out[path[0]] = rest
			return out
		}
	}
	delete(out, path[0])
	return out
}

// Delete drops the entry at path, and the mappings that it leaves empty.
func (e *Edit) Delete(path ...string) error {
	root, err := parseMapping(e.data)
	if err != nil {
		return fmt.Errorf("cannot edit: %w", err)
	}
	parent, depth := descend(root, path)
	if depth != len(path)-1 || find(parent, path[depth]) < 0 {
		return nil
	}
	want := without(plain(root), path)
	if len(parent.Content) == 2 && depth > 0 {
		return e.Delete(path[:depth]...)
	}
	i := find(parent, path[depth])
	if parent.Style&yaml.FlowStyle != 0 {
		changed, err := e.cut(parent, i)
		if err != nil {
			return fmt.Errorf("cannot delete %s: %w", strings.Join(path, "."), err)
		}
		return e.accept(changed, want)
	}
	from, to := e.extent(parent, i)
	return e.accept(splice(e.data, from, to, ""), want)
}

func parseMapping(data []byte) (*yaml.Node, error) {
	if len(newSource(data).starts) != bytes.Count(data, []byte("\n"))+1 {
		return nil, errors.New("not every line ends with a line feed")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the text is no mapping")
	}
	return doc.Content[0], nil
}

// plain is the value of a node, as far as manifests have such values.
func plain(n *yaml.Node) any {
	w := walker{doc: &document{}}
	return w.plain(n, 0)
}

// accept takes the changed text when it says what it was meant to, no less and
// no more.
func (e *Edit) accept(changed []byte, want any) error {
	root, err := parseMapping(changed)
	if err != nil {
		return fmt.Errorf("the edit would break the file: %w", err)
	}
	if !reflect.DeepEqual(plain(root), want) {
		return errors.New("the edit would change more of the file than it should; make it by hand")
	}
	e.data = changed
	return nil
}

// descend follows the path as far as it exists, short of its last element.
func descend(n *yaml.Node, path []string) (*yaml.Node, int) {
	for i, p := range path[:len(path)-1] {
		j := find(n, p)
		if j < 0 {
			return n, i
		}
		n = resolve(n.Content[j+1])
	}
	return n, len(path) - 1
}

func find(n *yaml.Node, key string) int {
	if n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// put sets one entry of a mapping that exists.
func (e *Edit) put(parent *yaml.Node, key, value string) ([]byte, error) {
	i := find(parent, key)
	if parent.Style&yaml.FlowStyle != 0 {
		return e.putFlow(parent, i, key, value)
	}
	text := indent(Scalar(key)+":"+after(value), parent.Content[0].Column-1) + "\n"
	if i < 0 {
		last := len(parent.Content) - 2
		_, to := e.extent(parent, last)
		if to > 0 && e.data[to-1] != '\n' {
			text = "\n" + text
		}
		return splice(e.data, to, to, e.breaks(text)), nil
	}
	v := parent.Content[i+1]
	if end, ok := e.end(v); ok && !strings.Contains(value, "\n") {
		return splice(e.data, e.offset(v), end, value), nil
	}
	from, to := e.extent(parent, i)
	return splice(e.data, from, to, e.breaks(text)), nil
}

// putFlow sets entry i of a flow mapping, or adds one when i is negative.
func (e *Edit) putFlow(parent *yaml.Node, i int, key, value string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return nil, err
	}
	v, k := doc.Content[0], &yaml.Node{Kind: yaml.ScalarNode, Value: key}
	if i >= 0 {
		old := parent.Content[i+1]
		if end, ok := e.end(old); ok {
			return splice(e.data, e.offset(old), end, flow(v)), nil
		}
		parent.Content[i+1] = v
		return e.reflow(parent)
	}
	if n := len(parent.Content); n > 0 {
		if end, ok := e.end(parent.Content[n-1]); ok {
			return splice(e.data, end, end, ", "+flow(k)+": "+flow(v)), nil
		}
	}
	parent.Content = append(parent.Content, k, v)
	return e.reflow(parent)
}

// cut drops entry i of a flow mapping of several.
func (e *Edit) cut(parent *yaml.Node, i int) ([]byte, error) {
	if i+2 < len(parent.Content) {
		return splice(e.data, e.offset(parent.Content[i]), e.offset(parent.Content[i+2]), ""), nil
	}
	if i > 0 {
		from, ok := e.end(parent.Content[i-1])
		to, ok2 := e.end(parent.Content[i+1])
		if ok && ok2 {
			return splice(e.data, from, to, ""), nil
		}
	}
	parent.Content = append(parent.Content[:i:i], parent.Content[i+2:]...)
	return e.reflow(parent)
}

// breaks ends the lines of a new text as the first line of the file ends.
func (e *Edit) breaks(text string) string {
	if i := bytes.IndexByte(e.data, '\n'); i > 0 && e.data[i-1] == '\r' {
		return strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// after writes what follows a key and its colon.
func after(value string) string {
	if strings.Contains(value, "\n") || isBlock(value) {
		return "\n" + indent(value, 2)
	}
	return " " + value
}

// isBlock reports whether a text of one line is a block mapping's entry.
func isBlock(value string) bool {
	var n yaml.Node
	if yaml.Unmarshal([]byte(value), &n) != nil || len(n.Content) == 0 {
		return false
	}
	c := n.Content[0]
	return c.Kind == yaml.MappingNode && c.Style&yaml.FlowStyle == 0
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = pad + l
		}
	}
	return strings.Join(lines, "\n")
}

func splice(data []byte, from, to int, text string) []byte {
	out := make([]byte, 0, len(data)+len(text))
	out = append(out, data[:from]...)
	out = append(out, text...)
	return append(out, data[to:]...)
}

// reflow writes a flow mapping anew.
func (e *Edit) reflow(n *yaml.Node) ([]byte, error) {
	at := e.offset(n)
	l, ok := balanced(e.data[at:])
	if !ok {
		return nil, errors.New("the mapping has no end")
	}
	return splice(e.data, at, at+l, Flow(n)), nil
}
