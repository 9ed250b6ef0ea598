package schema

import (
	_ "embed"
	"strings"
	"sync"
)

// Rule is the stable name of what a diagnostic breaks. rules.md says what each
// means.
type Rule string

// The rules of one file by itself.
const (
	RuleYAML       Rule = "yaml"
	RuleSchema     Rule = "schema"
	RuleNames      Rule = "names"
	RuleExpression Rule = "expression"
	RuleInterface  Rule = "interface"
	RuleOptional   Rule = "optional"
	RuleEnv        Rule = "env"
	RuleUnused     Rule = "unused"
	RulePath       Rule = "path"
	RuleState      Rule = "state"
	RuleSelector   Rule = "selector"
	RuleSnapshot   Rule = "snapshot"
	RuleNested     Rule = "nested"
)

// The rules of a registry.
const (
	RuleLayout       Rule = "layout"
	RuleDefault      Rule = "default"
	RuleDigest       Rule = "digest"
	RuleCreated      Rule = "created"
	RuleImmutable    Rule = "immutable"
	RuleBump         Rule = "bump"
	RuleCodeowners   Rule = "codeowners"
	RuleRequirements Rule = "requirements"
	RuleReserved     Rule = "reserved"
	RulePolicy       Rule = "policy"
	RuleTest         Rule = "test"
)

// The rules of a pipeline.
const (
	RuleResolve     Rule = "resolve"
	RuleWiring      Rule = "wiring"
	RuleCycle       Rule = "cycle"
	RuleValue       Rule = "value"
	RuleLock        Rule = "lock"
	RuleUnsupported Rule = "unsupported"
	RuleResources   Rule = "resources"
	RuleSecret      Rule = "secret"
)

//go:embed rules.md
var rulesPage string

var rulesByName = sync.OnceValue(func() map[Rule]string {
	m := map[Rule]string{}
	for _, section := range strings.Split(rulesPage, "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		m[Rule(name)] = strings.TrimSpace(text)
	}
	return m
})

// Rules lists the names of all rules, in the order of their page.
func Rules() []Rule {
	var names []Rule
	for _, section := range strings.Split(rulesPage, "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		names = append(names, Rule(name))
	}
	return names
}

// Explain says what a rule means and how to keep it; "" for an unknown rule.
func (r Rule) Explain() string { return rulesByName()[r] }
