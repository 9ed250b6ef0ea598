package schema

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"gopkg.in/yaml.v3"
)

// Files are the JSON Schemas (draft-07), as NAME.schema.json.
//
//go:embed *.schema.json
var Files embed.FS

// BaseURL is where the schemas are for editors; a schema's $id begins with it.
const BaseURL = "https://raw.githubusercontent.com/modyard/modyard/main/schema/"

var kindFiles = map[string]string{
	KindRegistry:      "registry.schema.json",
	KindModule:        "module.schema.json",
	KindModuleVersion: "module-version.schema.json",
	KindPipeline:      "pipeline.schema.json",
	KindLock:          "lock.schema.json",
	KindModuleTest:    "module-test.schema.json",
}

// EditorComment is the first line that tells an editor's YAML support which
// schema a manifest of the kind has, with its line break.
func EditorComment(kind string) string {
	return "# yaml-language-server: $schema=" + BaseURL + kindFiles[kind] + "\n"
}

// schemas are the embedded JSON Schemas, each read and compiled when it is first
// asked for: a command needs one or two of them.
var schemas = struct {
	sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema // by kind
	raw      map[string]map[string]any     // by file name
}{compiled: map[string]*jsonschema.Schema{}, raw: map[string]map[string]any{}}

// schemaOf is the schema of a kind.
func schemaOf(kind string) *jsonschema.Schema {
	schemas.Lock()
	defer schemas.Unlock()
	s := schemas.compiled[kind]
	if s == nil {
		if schemas.compiler == nil {
			schemas.compiler = jsonschema.NewCompiler()
			schemas.compiler.Draft = jsonschema.Draft7
			schemas.compiler.LoadURL = func(address string) (io.ReadCloser, error) {
				return Files.Open(strings.TrimPrefix(address, BaseURL))
			}
		}
		s = schemas.compiler.MustCompile(BaseURL + kindFiles[kind])
		schemas.compiled[kind] = s
	}
	return s
}

// rawSchema is a schema as its file has it.
func rawSchema(file string) map[string]any {
	schemas.Lock()
	defer schemas.Unlock()
	raw := schemas.raw[file]
	if raw == nil {
		data, err := Files.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &raw)
		}
		if err != nil {
			panic(fmt.Sprintf("schema %s: %v", file, err))
		}
		schemas.raw[file] = raw
	}
	return raw
}

// validate checks the document against the JSON Schema of the kind.
func (d *document) validate(kind string) {
	s := schemaOf(kind)
	if holds(s, d.value) {
		return
	}
	err := s.Validate(d.value)
	ve, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		if err != nil {
			d.diags.Add(d.file, Pos{1, 1}, RuleSchema, "", "%v", err)
		}
		return
	}
	d.explain(ve)
}

// explain reports the leaves of the cause tree: the fact of each from the
// schema itself, never from the validator's text.
func (d *document) explain(e *jsonschema.ValidationError) {
	keyword, parent := keywordOf(e)
	if len(e.Causes) > 0 && keyword != "oneOf" {
		for _, c := range e.Causes {
			d.explain(c)
		}
		return
	}
	tokens := pointer(e.InstanceLocation)
	node := d.at(tokens)
	where := "the manifest"
	if len(tokens) > 0 {
		where = strconv.Quote(clip(label(tokens)))
	}
	if strings.Contains(e.KeywordLocation, "/propertyNames/") {
		key := d.key(tokens)
		d.diags.Add(d.file, nodePos(key), RuleSchema, description(parent), "the name %q is not allowed", clip(key.Value))
		return
	}
	at := nodePos(node)
	add := func(pos Pos, hint, format string, args ...any) {
		d.diags.Add(d.file, pos, RuleSchema, hint, format, args...)
	}
	switch keyword {
	case "additionalProperties":
		known := slices.Sorted(maps.Keys(asMap(parent["properties"])))
		for i := 0; i+1 < len(node.Content); i += 2 {
			k := resolve(node.Content[i])
			if !slices.Contains(known, k.Value) {
				add(nodePos(node.Content[i]), DidYouMean(k.Value, known), "unknown key %q in %s", clip(k.Value), where)
			}
		}
	case "required":
		for _, r := range asStrings(parent["required"]) {
			if !hasKey(node, r) {
				add(at, about(parent, r), "%s lacks the key %q", where, r)
			}
		}
	case "dependencies":
		add(at, "the digest makes the content certain, wherever it comes from", "%s has a \"uri\" and lacks its \"digest\"", where)
	case "not":
		both := asStrings(asMap(parent["not"])["required"])
		add(keyPos(node, both), "keep one of them", "%s has both %s", where, QuoteList(both, "and"))
	case "oneOf":
		names := branches(parent["oneOf"])
		var have []string
		for _, n := range names {
			if hasKey(node, n) {
				have = append(have, n)
			}
		}
		if len(have) > 1 {
			add(keyPos(node, have), "keep one of them", "%s has %s; exactly one may stand", where, QuoteList(have, "and"))
		} else {
			add(at, "", "%s needs exactly one of %s", where, QuoteList(names, "or"))
		}
	case "type":
		add(at, typeHint(node, parent), "%s must be %s, not %s", where, typeNames(parent["type"]), nodeType(node))
	case "enum":
		allowed := asStrings(parent["enum"])
		hint := ""
		if near := Nearest(node.Value, allowed); len(near) > 0 {
			hint = DidYouMean(node.Value, allowed)
		}
		add(at, hint, "%s must be %s, not %s", where, QuoteList(allowed, "or"), shown(node))
	case "const":
		add(at, "", "%s must be %q, not %s", where, parent["const"], shown(node))
	case "pattern":
		add(at, description(parent), "%s is not well formed: %s", where, shown(node))
	case "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum":
		words := map[string]string{"minimum": "at least", "exclusiveMinimum": "greater than", "maximum": "at most", "exclusiveMaximum": "less than"}
		add(at, "", "%s must be %s %v, not %s", where, words[keyword], parent[keyword], shown(node))
	case "minLength", "minItems", "minProperties":
		add(at, "", "%s is empty", where)
	case "maxLength":
		add(at, "", "%s is too long: at most %v characters", where, parent[keyword])
	case "maxItems", "maxProperties":
		add(at, "", "%s has too many entries: at most %v", where, parent[keyword])
	case "uniqueItems":
		again := repeated(node)
		add(nodePos(again), "", "%s has %s twice", where, shown(again))
	default:
		add(at, "", "%s breaks %s of its schema", where, keyword)
	}
}

// keyword returns the schema keyword that failed and the schema object that
// holds it.
func keywordOf(e *jsonschema.ValidationError) (string, map[string]any) {
	file, frag, _ := strings.Cut(e.AbsoluteKeywordLocation, "#")
	file = strings.TrimPrefix(file, BaseURL)
	tokens := pointer(frag)
	if len(tokens) == 0 {
		return "", nil
	}
	last := len(tokens) - 1
	if last > 1 && tokens[last-2] == "dependencies" { // dependencies/uri/0
		last -= 2
	}
	var cur any = rawSchema(file)
	for _, t := range tokens[:last] {
		switch c := cur.(type) {
		case map[string]any:
			cur = c[t]
		case []any:
			if i, err := strconv.Atoi(t); err == nil && i < len(c) {
				cur = c[i]
			}
		}
	}
	return tokens[last], asMap(cur)
}

// about describes the property of a schema object, through a $ref if need be.
func about(parent map[string]any, property string) string {
	p := asMap(asMap(parent["properties"])[property])
	if s := description(p); s != "" {
		return s
	}
	ref, _ := p["$ref"].(string)
	_, frag, _ := strings.Cut(ref, "#")
	t := pointer(frag)
	if len(t) == 2 {
		return description(asMap(asMap(rawSchema("defs.schema.json")[t[0]])[t[1]]))
	}
	return ""
}

// pointer splits a JSON Pointer that is escaped once more as a URL path.
func pointer(s string) []string {
	if s == "" {
		return nil
	}
	if u, err := url.PathUnescape(s); err == nil {
		s = u
	}
	tokens := strings.Split(strings.TrimPrefix(s, "/"), "/")
	r := strings.NewReplacer("~1", "/", "~0", "~")
	for i, t := range tokens {
		tokens[i] = r.Replace(t)
	}
	return tokens
}

// label names a place for a message: steps.train.inputs.data, command[2].
func label(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		if regexpIndex.MatchString(t) {
			b.WriteString("[" + t + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(t)
	}
	return b.String()
}

var regexpIndex = regexp.MustCompile(`^[0-9]+$`)

// at finds the node of an instance location, or the last one on the way there.
func (d *document) at(tokens []string) *yaml.Node {
	node := d.root
	for _, t := range tokens {
		n := resolve(node)
		switch n.Kind {
		case yaml.SequenceNode:
			if j, err := strconv.Atoi(t); err == nil && j < len(n.Content) {
				node = n.Content[j]
			}
		case yaml.MappingNode:
			found := false
			for j := 0; j+1 < len(n.Content); j += 2 {
				if resolve(n.Content[j]).Value == t {
					node, found = n.Content[j+1], true
					break
				}
			}
			if !found {
				return n
			}
		}
	}
	return resolve(node)
}

// key finds the node of a property's name.
func (d *document) key(tokens []string) *yaml.Node {
	parent, name := d.at(tokens[:len(tokens)-1]), tokens[len(tokens)-1]
	for i := 0; i+1 < len(parent.Content); i += 2 {
		if k := parent.Content[i]; resolve(k).Value == name {
			return k
		}
	}
	return parent
}

// keyPos is the place of the last of some keys of a mapping.
func keyPos(n *yaml.Node, keys []string) Pos {
	pos := nodePos(n)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if slices.Contains(keys, resolve(n.Content[i]).Value) {
			pos = nodePos(n.Content[i])
		}
	}
	return pos
}

// repeated finds the first element of a list that stands in it before.
func repeated(list *yaml.Node) *yaml.Node {
	seen := map[string]bool{}
	for _, c := range list.Content {
		if seen[resolve(c).Value] {
			return c
		}
		seen[resolve(c).Value] = true
	}
	return list
}

func description(schema map[string]any) string {
	s, _ := schema["description"].(string)
	return s
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asStrings(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func branches(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, b := range list {
		out = append(out, asStrings(asMap(b)["required"])...)
	}
	return out
}

func hasKey(n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if resolve(n.Content[i]).Value == key {
			return true
		}
	}
	return false
}

func typeNames(v any) string {
	article := map[string]string{
		"object": "a mapping", "array": "a list", "string": "a string",
		"integer": "an integer", "number": "a number", "boolean": "true or false",
	}
	if s, ok := v.(string); ok {
		return article[s]
	}
	var names []string
	for _, s := range asStrings(v) {
		names = append(names, article[s])
	}
	return strings.Join(names, " or ")
}

func nodeType(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int":
		return "the integer " + clip(n.Value)
	case "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	case "!!null":
		return "nothing"
	}
	return "the string " + strconv.Quote(clip(n.Value))
}

func typeHint(n *yaml.Node, parent map[string]any) string {
	pattern, _ := parent["pattern"].(string)
	if fits, err := regexp.MatchString(pattern, n.Value); parent["type"] == "string" && n.Kind == yaml.ScalarNode && fits && err == nil {
		return "quote it: " + strconv.Quote(clip(n.Value))
	}
	if pattern != "" || parent["type"] == "object" || parent["type"] == "array" {
		return description(parent)
	}
	return ""
}

func shown(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return nodeType(n)
	}
	switch n.Tag {
	case "!!int", "!!float", "!!bool":
		return clip(n.Value)
	}
	return strconv.Quote(clip(n.Value))
}
