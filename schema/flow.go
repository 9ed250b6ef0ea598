package schema

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// Scalar writes a string as a YAML scalar, quoted when it must be.
func Scalar(s string) string {
	if strings.ContainsAny(s, "\n\r") {
		return JSON(s)
	}
	out, err := yaml.Marshal(s)
	if err != nil || bytes.Count(out, []byte("\n")) > 1 {
		return JSON(s)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Flow writes a value (plain values, or a node) as YAML on one line.
func Flow(v any) string {
	var n yaml.Node
	if node, ok := v.(*yaml.Node); ok {
		n = *node
	} else if err := n.Encode(v); err != nil {
		return JSON(v)
	}
	return flow(&n)
}

func flow(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, flow(n.Content[i])+": "+flow(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, c := range n.Content {
			parts = append(parts, flow(c))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yaml.AliasNode:
		return "*" + n.Value
	}
	if n.Tag == "!!str" || n.Tag == "" {
		if strings.ContainsAny(n.Value, ",[]{}#:&*!|>'\"%@`") {
			return JSON(n.Value)
		}
		return Scalar(n.Value)
	}
	return n.Value
}
