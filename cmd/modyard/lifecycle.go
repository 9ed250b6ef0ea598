package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

func (a *app) deprecateCmd() *cobra.Command {
	return a.lifecycleCmd("deprecate", "Warn whoever picks a version, or any version of a module", schema.Deprecated)
}

func (a *app) disableCmd() *cobra.Command {
	return a.lifecycleCmd("disable", "Let nobody pick a version, or any version of a module", schema.Disabled)
}

func (a *app) lifecycleCmd(use, short string, state schema.State) *cobra.Command {
	var f registryFlag
	var reason, replacement string
	var pr bool
	cmd := &cobra.Command{
		Use:     use + " MODULE[@VERSION] --reason TEXT",
		Short:   short,
		Example: "  modyard " + use + ` train-model@1.0.0 --reason "slow on wide tables" --use 2.1.0`,
		Args:    oneArg("a module or one of its versions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("say why: --reason TEXT")
			}
			l := schema.Lifecycle{State: state, Reason: reason, Use: replacement}
			return a.here(cmd.Context(), &f, pr, use+" "+args[0], func(f *registryFlag) (string, error) { return setLifecycle(f, args[0], l) })
		},
	}
	f.register(cmd)
	prFlag(cmd, &pr)
	cmd.Flags().StringVar(&reason, "reason", "", "why; people who use it will read it")
	cmd.Flags().StringVar(&replacement, "use", "", "what to use instead: a version, or for a whole module a module")
	return cmd
}

func (a *app) enableCmd() *cobra.Command {
	var f registryFlag
	var pr bool
	cmd := &cobra.Command{
		Use:   "enable MODULE[@VERSION]",
		Short: "Make a deprecated or disabled version, or module, active again",
		Args:  oneArg("a module or one of its versions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.here(cmd.Context(), &f, pr, "enable "+args[0], func(f *registryFlag) (string, error) { return setLifecycle(f, args[0], schema.Lifecycle{}) })
		},
	}
	f.register(cmd)
	prFlag(cmd, &pr)
	return cmd
}

func (a *app) defaultCmd() *cobra.Command {
	var f registryFlag
	var unset, pr bool
	cmd := &cobra.Command{
		Use:   "default MODULE@VERSION",
		Short: "Set the version that is picked when none is asked for",
		Args:  oneArg("a version of a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.here(cmd.Context(), &f, pr, "default "+args[0], func(f *registryFlag) (string, error) { return setDefault(f, args[0], unset) })
		},
	}
	f.register(cmd)
	prFlag(cmd, &pr)
	cmd.Flags().BoolVar(&unset, "unset", false, "drop the default: the highest stable version is picked then")
	return cmd
}

func setDefault(f *registryFlag, arg string, unset bool) (string, error) {
	m, v, err := versionArg(f, arg)
	if err != nil {
		return "", err
	}
	if unset {
		return editModule(m, func(e *schema.Edit) error { return e.Delete("default") })
	}
	if v == nil {
		return "", usagef("name a version: %s@VERSION", m.Name)
	}
	if v.State == schema.Disabled {
		return "", &hinted{fmt.Sprintf("version %s of %q is disabled: %s", v, m.Name, v.Reason), "modyard enable " + arg}
	}
	return editModule(m, func(e *schema.Edit) error { return e.Set(v.String(), "default") })
}

func prFlag(cmd *cobra.Command, pr *bool) {
	cmd.Flags().BoolVar(pr, "pr", false, "propose it in a pull request to --registry github.com/OWNER/REPO")
}

// here makes a change of a registry in its folder, or proposes it.
// What do changes is the file that it returns.
func (a *app) here(ctx context.Context, f *registryFlag, pr bool, what string, do func(f *registryFlag) (string, error)) error {
	p, err := a.parsePlace(f.dir)
	switch {
	case err != nil:
		return err
	case pr && (p == nil || p.owner == ""):
		return usagef("--pr needs --registry github.com/OWNER/REPO")
	case !pr && p != nil:
		return usagef("the registry is not on this disk: --pr proposes the change")
	case !pr:
		file, err := do(f)
		if err == nil {
			a.say("wrote %s", file)
		}
		return err
	}
	kind, about, _ := strings.Cut(what, " ")
	return a.proposeChange(ctx, change{
		to: p, kind: kind, about: strings.Replace(about, "@", "-", 1),
		make: a.registryChange(p, strings.ToUpper(what[:1])+what[1:], func(reg string) error {
			_, err := do(&registryFlag{dir: reg})
			return err
		}),
	})
}

// versionArg finds MODULE or MODULE@VERSION; the version is nil for a module.
func versionArg(f *registryFlag, arg string) (*registry.Module, *registry.Version, error) {
	ref, err := schema.ParseModuleRef(arg)
	if err != nil {
		return nil, nil, usagef("%w", err)
	}
	r, err := f.open()
	if err != nil {
		return nil, nil, err
	}
	m, diags, err := r.Module(ref.Name)
	if err != nil {
		return nil, nil, err
	}
	if err := diags.Err(); err != nil {
		return nil, nil, err
	}
	if ref.Selector == "" {
		return m, nil, nil
	}
	v, ok := m.Version(ref.Selector)
	if !ok {
		var numbers []string
		for _, v := range m.Versions {
			numbers = append(numbers, v.String())
		}
		return nil, nil, &hinted{fmt.Sprintf("%q has no version %s", m.Name, ref.Selector), schema.DidYouMean(ref.Selector, numbers)}
	}
	return m, v, nil
}

func setLifecycle(f *registryFlag, arg string, l schema.Lifecycle) (string, error) {
	m, v, err := versionArg(f, arg)
	if err != nil {
		return "", err
	}
	if v != nil && l.State == schema.Disabled && m.Default.Value == v.String() {
		return "", &hinted{fmt.Sprintf("version %s is the default of %q", v, m.Name), "set another one first: modyard default " + m.Name + "@VERSION"}
	}
	if v != nil && l.Use != "" {
		if other, ok := m.Version(l.Use); !ok || other.State == schema.Disabled || l.Use == v.String() {
			return "", &hinted{fmt.Sprintf("%s cannot replace version %s of %q", l.Use, v, m.Name), "name another version that may be used: --use VERSION"}
		}
	}
	return editModule(m, func(e *schema.Edit) error {
		if v != nil {
			if l.State == "" {
				return e.Delete("versions", v.String())
			}
			return e.Set(lifecycleText(l), "versions", v.String())
		}
		for _, kv := range [][2]string{{"state", string(l.State)}, {"reason", l.Reason}, {"use", l.Use}} {
			err := e.Delete(kv[0])
			if kv[1] != "" {
				err = e.Set(schema.Scalar(kv[1]), kv[0])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func lifecycleText(l schema.Lifecycle) string {
	s := "{state: " + string(l.State) + ", reason: " + schema.Flow(l.Reason)
	if l.Use != "" {
		s += ", use: " + schema.Flow(l.Use)
	}
	return s + "}"
}

// editModule changes a module.yaml, keeps its comments and order, and returns
// its name.
func editModule(m *registry.Module, change func(*schema.Edit) error) (string, error) {
	file := filepath.FromSlash(m.File)
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	e := schema.NewEdit(data)
	if err := change(e); err != nil {
		return "", err
	}
	if _, diags := schema.ParseModule(m.File, e.Bytes()); diags.Err() != nil {
		return "", diags.Err()
	}
	if err := os.WriteFile(file, e.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("cannot write %s: %w", file, err)
	}
	return file, nil
}
