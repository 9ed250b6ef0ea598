package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/registry/wheels"
	"github.com/modyard/modyard/schema"
)

type publishOptions struct {
	registryFlag
	all, dry, asJSON bool
	since, to, key   string
	event            string
	branch, tip      string // the default branch that the event names, and its last commit here
	release          bool
}

func (a *app) publishCmd() *cobra.Command {
	o := &publishOptions{}
	cmd := &cobra.Command{
		Use:   "publish [MODULE@VERSION | TAG]…",
		Short: "Publish versions as OCI images",
		Long: `Publish module versions as OCI images, to where registry.yaml says, or --to
HOST/PREFIX: module a becomes HOST/PREFIX/a, its tag is the version. No
container engine is needed. A TAG is a git tag such as train-model/v2.1.0.

What is published already is left alone; what is published with other content is
an error. A provenance is attached, signed with --key, or in GitHub Actions with
the workflow's identity (permissions: {id-token: write}).

A Sigstore of your own is used when SIGSTORE_SIGNING_CONFIG and, for those who
verify, SIGSTORE_TRUSTED_ROOT name its files.

Credentials come from docker's and podman's configuration, and for ghcr.io from
GITHUB_TOKEN. Hosts in MODYARD_PLAIN_HTTP are spoken to without TLS. The
password of a key is read from COSIGN_PASSWORD.
` + exitHelp,
		Example: `  modyard publish train-model@2.1.0
  modyard publish --changed-since origin/main~1
  modyard publish --all --to ghcr.io/acme/modules
  modyard publish train-model@2.1.0 --to oci:layout
  modyard publish --event "$GITHUB_EVENT_PATH" --release`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := eventGiven(cmd); err != nil {
				return err
			}
			return a.publish(cmd.Context(), args, o)
		},
	}
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "publish every version that is not disabled")
	f.StringVar(&o.since, "changed-since", "", "publish the versions that were added since the git revision `REF`")
	f.StringVar(&o.to, "to", "", "publish to `HOST/PREFIX`, or into the OCI layout oci:DIR")
	f.BoolVar(&o.dry, "dry-run", false, "build, and say what would be sent")
	f.StringVar(&o.key, "key", "", "sign with the private key in `FILE`")
	f.StringVar(&o.event, "event", "", "publish what the event of GitHub Actions in `FILE` says: the version of a tag, what a push to the default branch added, else every version")
	f.BoolVar(&o.release, "release", false, "make a tag and a release on GitHub for each version, unless they are there, and put the index where registry.yaml says")
	f.BoolVar(&o.asJSON, "json", false, "write JSON")
	return cmd
}

// publishing is one run of the command.
type publishing struct {
	*publishOptions
	a      *app
	reg    *registry.Registry
	client *oci.Client
	signer attest.Signer
	source provenanceSource
}

// publishRow tells of one version.
type publishRow struct {
	Module  string        `json:"module"`
	Version string        `json:"version"`
	State   string        `json:"state"` // published, already, would, written
	Ref     string        `json:"ref,omitempty"`
	Digest  schema.Digest `json:"digest,omitempty"`
	Size    int64         `json:"size"` // bytes of the version's own layers
	Signed  bool          `json:"signed"`
	Release string        `json:"release,omitempty"` // its address
}

func (a *app) publish(ctx context.Context, args []string, o *publishOptions) error {
	reg, err := o.open()
	if err != nil {
		return err
	}
	if o.event != "" {
		var none bool
		if args, none, err = a.fromEvent(ctx, reg, args, o); err != nil || none {
			return err
		}
	}
	versions, err := a.chosen(ctx, reg, args, o)
	if err != nil {
		return err
	}
	to := a.imagesTo(reg, o)
	if to == "" && !o.dry {
		return &hinted{"the registry does not say where images are published", "add images: HOST/PREFIX to registry.yaml, or name it: --to HOST/PREFIX"}
	}
	o.to = strings.TrimSuffix(to, "/")
	p := &publishing{publishOptions: o, a: a, reg: reg}
	if p.client, err = a.client(); err != nil {
		return err
	}
	if p.signer, err = a.signer(o.key); err != nil {
		return err
	}
	if p.source, err = a.provenanceSource(ctx, reg); err != nil {
		return err
	}
	rows := make([]publishRow, len(versions))
	failed := make([]error, len(versions))
	stop := a.showBytes()
	g, sending := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	if strings.HasPrefix(o.to, "oci:") {
		g.SetLimit(1) // a layout has one index
	}
	for i, v := range versions {
		g.Go(func() error {
			rows[i], failed[i] = p.one(sending, v)
			return nil // the others go on
		})
	}
	_ = g.Wait()
	stop()
	if o.release && !o.dry {
		if err := p.releases(ctx, versions, rows, failed); err != nil {
			return err
		}
		if err := p.index(ctx); err != nil {
			failed = append(failed, fmt.Errorf("the index: %w", err))
		}
	}
	a.outputs(rows)
	return a.published(rows, failed, o)
}

// imagesTo is where images go: for a workflow of a registry that does not say, to
// where its repository's packages are.
func (a *app) imagesTo(reg *registry.Registry, o *publishOptions) string {
	to := cmpOr(o.to, reg.Images)
	if name, _ := a.lookup("GITHUB_REPOSITORY"); to == "" && o.event != "" && name != "" && a.actionsHost() == "github.com" {
		to = "ghcr.io/" + strings.ToLower(name)
		a.say("note: images go to %s; with images: %s in registry.yaml others find them", to, to)
	}
	return to
}

// index puts the index where the registry says. That of an older commit than
// the branch's last, as a tag may be on, would take the place of a newer one.
func (p *publishing) index(ctx context.Context) error {
	if p.reg.Index == "" {
		return nil
	}
	files, commit, err := indexOf(ctx, p.reg)
	if err != nil {
		return err
	}
	return p.a.pushIndex(ctx, p.reg, p.signer, files, commit, p.branch)
}

// published says what became of each version.
func (a *app) published(rows []publishRow, failed []error, o *publishOptions) error {
	if o.asJSON {
		done := slices.DeleteFunc(slices.Clone(rows), func(r publishRow) bool { return r.State == "" })
		return errors.Join(a.json(done), errors.Join(failed...))
	}
	t := a.table()
	signed := true
	for _, r := range rows {
		if r.State == "" {
			continue
		}
		size := ""
		if r.State != "already" {
			size = bytesText(r.Size)
		}
		t.row(r.Module+"@"+r.Version, r.State, size, string(r.Digest), r.Ref)
		signed = signed && (r.Signed || r.State != "published")
	}
	if err := t.flush(); err != nil {
		return err
	}
	if !signed {
		a.say("note: there is no signed provenance: give --key FILE, or publish from a workflow with permissions: {id-token: write}")
	}
	return errors.Join(failed...)
}

// chosen lists the versions that the arguments name.
func (a *app) chosen(ctx context.Context, reg *registry.Registry, args []string, o *publishOptions) ([]*registry.Version, error) {
	ways := 0
	for _, set := range []bool{len(args) > 0, o.all, o.since != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return nil, usagef("name versions, or give --all or --changed-since REF")
	}
	var out []*registry.Version
	exact := func(module, number string) error {
		m, diags, err := reg.Module(module)
		if err != nil {
			return err
		}
		if err := diags.Err(); err != nil {
			return err
		}
		p, err := m.Pick(number, registry.PickOptions{AllowDisabled: true})
		if err != nil {
			return err
		}
		if p.Work {
			return &hinted{"@" + registry.Work + " cannot be published", "make a version of it: modyard new version " + module}
		}
		out = append(out, p.Version)
		return nil
	}
	for _, arg := range args {
		module, number, isTag := versionTag(arg)
		if !isTag {
			ref, err := schema.ParseModuleRef(arg)
			if err != nil || ref.Registry != "" {
				return nil, usagef("%q is neither MODULE@VERSION nor a tag such as train-model/v2.1.0", arg)
			}
			module, number = ref.Name, ref.Selector
		}
		if err := exact(module, number); err != nil {
			return nil, err
		}
	}
	if o.since != "" {
		res, err := registry.Check(ctx, reg.Dir, registry.CheckOptions{Base: o.since})
		if err != nil {
			return nil, err
		}
		if err := res.Diagnostics.Err(); err != nil {
			return nil, err
		}
		for _, add := range res.Added {
			if err := exact(add.Module, add.Version); err != nil {
				return nil, err
			}
		}
	}
	if o.all {
		for _, name := range reg.Names() {
			m, diags, err := reg.Module(name)
			if err != nil {
				return nil, err
			}
			if err := diags.Err(); err != nil {
				return nil, err
			}
			for _, v := range m.Versions {
				if v.State != schema.Disabled && m.State != schema.Disabled {
					out = append(out, v)
				}
			}
		}
	}
	return out, nil
}

// one publishes one version.
func (p *publishing) one(ctx context.Context, v *registry.Version) (publishRow, error) {
	row := publishRow{Module: v.Module(), Version: v.String()}
	fail := func(err error) (publishRow, error) {
		return publishRow{}, fmt.Errorf("%s@%s: %w", v.Module(), v, err)
	}
	m, diags, err := v.Manifest()
	if err != nil {
		return fail(err)
	}
	if err := diags.Err(); err != nil {
		return fail(err)
	}
	text, err := v.Text()
	if err != nil {
		return fail(err)
	}
	if err := p.source.committed(ctx, v, text); err != nil {
		return fail(err)
	}
	layout, isLayout := strings.CutPrefix(p.to, "oci:")
	plan := oci.Plan{About: oci.Version{Manifest: m, File: text, Source: p.reg.Source}}
	if !isLayout && p.to != "" {
		plan.Ref = oci.Ref(p.to, v.Module(), v.String())
		row.Ref = plan.Ref
		was, err := p.client.Published(ctx, plan)
		if err != nil && (!p.dry || !oci.Unreachable(err)) {
			return fail(err)
		}
		if was != nil {
			row.State, row.Digest = "already", was.Digest
			return row, nil
		}
	}
	if m.Run != nil && !m.Snapshot.IsEnvironment() {
		f, err := p.a.fetcher()
		if err != nil {
			return fail(err)
		}
		if plan.About.Files, err = v.Source(ctx, f); err != nil {
			return fail(err)
		}
	}
	if plan.About.Packages, err = p.packages(ctx, m, plan.About.Files); err != nil {
		return fail(err)
	}
	img, err := p.client.Build(ctx, plan.About)
	if err != nil {
		return fail(err)
	}
	defer img.Remove()
	row.Digest, row.Size = img.Digest, img.Size
	switch {
	case p.dry:
		row.State = "would"
		return row, nil
	case isLayout:
		row.State = "written"
		name, err := img.WriteLayout(layout)
		row.Ref = layout + ":" + name
		return row, err
	}
	if p.signer != nil {
		row.Signed = true
		plan.Attest = func(ctx context.Context, digest schema.Digest) ([]oci.Attachment, error) {
			return p.attest(ctx, m, plan.Ref, digest)
		}
	} else if plan.MustAttest, err = p.mustAttest(ctx, v); err != nil {
		return fail(err)
	}
	done, err := p.client.Publish(ctx, plan, img)
	if err != nil {
		return fail(err)
	}
	row.State, row.Digest = "published", done.Digest
	if done.Already {
		row.State = "already"
	}
	if hint := p.client.PrivateHint(ctx, done.Ref); hint != "" {
		p.a.say("note: %s", hint)
	}
	return row, nil
}

// packages gives what lays out the packages that a version requires on its
// image, or nil.
func (p *publishing) packages(ctx context.Context, m *schema.ModuleVersion, files *snapshot.Tree) (func(ctx context.Context, python, arch string) (*snapshot.Tree, error), error) {
	if m.Run == nil || m.Run.Environment.Image.Value == "" || m.Run.Environment.Python == nil || files == nil {
		return nil, nil
	}
	want := m.Run.Environment.Python
	if want.Requirements.Value == "" {
		return nil, nil
	}
	const limit = 1 << 20
	text, err := files.ReadFile(ctx, want.Requirements.Value, limit)
	if err != nil {
		return nil, err
	}
	f, err := p.a.fetcher()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, python, arch string) (*snapshot.Tree, error) {
		return wheels.Tree(ctx, text, want.Version.Value, wheels.Target{Python: python, Arch: arch}, f.Scratch)
	}, nil
}

// showBytes shows on a terminal how many bytes have gone over the network,
// until stop is called.
func (a *app) showBytes() (stop func()) {
	if _, is := a.terminal(); !is {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(a.err, "\r%s\x1b[K", bytesText(a.bytes.Load()))
			case <-done:
				fmt.Fprint(a.err, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
