package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/schema"
)

type verifyOptions struct {
	registryFlag
	keys       []string
	identities []string
	from       string
}

func (a *app) verifyCmd() *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify MODULE[@VERSION] | oci://HOST/PATH:TAG",
		Short: "Compare a published image with what was reviewed",
		Long: `Read a version's image and compare it with the registry: the version's file that
it carries, its snapshot, hashed anew, and who has signed its provenance. An
image by its address is compared with itself, and with --key or --identity.
` + exitHelp,
		Args: oneArg("a module or an image"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), args[0], o) },
	}
	o.registerRead(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "key", nil, "one who may sign: the public key in `FILE`")
	f.StringArrayVar(&o.identities, "identity", nil, "one who may sign without a key: `ISSUER=SUBJECT`, the subject a regular expression")
	f.StringVar(&o.from, "from", "", "read the image from `HOST/PREFIX` (default: where registry.yaml says)")
	return cmd
}

func (a *app) verify(ctx context.Context, target string, o *verifyOptions) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	address, direct := strings.CutPrefix(target, "oci://")
	var reg *registry.Registry
	var want []byte
	required := len(o.keys)+len(o.identities) > 0
	if !direct {
		if reg, err = o.read(ctx, a); err != nil {
			return err
		}
		picked, _, err := pickArg(reg, target)
		if err != nil {
			return err
		}
		if want, err = picked.Text(); err != nil {
			return err
		}
		prefix := cmpOr(o.from, reg.Images)
		if prefix == "" {
			return &hinted{"the registry does not say where its images are", "name it: --from HOST/PREFIX"}
		}
		address = oci.Ref(prefix, picked.Module(), picked.String())
		required = required || reg.Policy.Signatures == "required"
	}
	v, err := a.verifierOf(reg, o)
	if err != nil {
		return err
	}
	e, err := c.Lookup(ctx, address)
	if err != nil {
		return err
	}
	if e == nil {
		return &hinted{address + " is not published", ""}
	}
	images := &oci.Images{Client: c, Verifier: v, Required: required}
	return a.verifyEntry(ctx, e, images, want)
}

func (a *app) verifierOf(reg *registry.Registry, o *verifyOptions) (*attest.Verifier, error) {
	var more []attest.Identity
	for _, id := range o.identities {
		issuer, subject, ok := strings.Cut(id, "=")
		if !ok {
			return nil, usagef("--identity %q is not ISSUER=SUBJECT", id)
		}
		more = append(more, attest.Identity{Issuer: issuer, Subject: subject})
	}
	return a.verifier(reg, o.keys, more...)
}

// verifyEntry says what is good, line by line, and stops at what is not.
func (a *app) verifyEntry(ctx context.Context, e *oci.Entry, images *oci.Images, want []byte) error {
	fmt.Fprintf(a.out, "image       %s\n", e.Ref)
	file, err := e.Manifest()
	if err != nil {
		return err
	}
	m, diags := schema.ParseModuleVersion(e.Ref, file)
	if err := diags.Err(); err != nil {
		return err
	}
	if want != nil && !bytes.Equal(file, want) {
		return &hinted{fmt.Sprintf("the image is of a file with the version digest %s; the registry has %s", m.Digest, schema.VersionDigest(want)), "the image is not of the version that was reviewed"}
	}
	fmt.Fprintf(a.out, "version     %s@%s %s\n", m.Module.Value, m.Version.Value, m.Digest)
	if m.Snapshot != nil && !m.Snapshot.IsEnvironment() {
		if err := a.verifySnapshot(ctx, e, m); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "snapshot    %s\n", m.Snapshot.Digest)
	}
	by, err := images.Provenance(ctx, e)
	if err != nil {
		return err
	}
	if by == nil {
		fmt.Fprintln(a.out, "provenance  not asked for")
		return nil
	}
	text := by.By
	if commit := by.Statement.Commit(); commit != "" {
		text += ", commit " + commit
	}
	fmt.Fprintf(a.out, "provenance  signed by %s\n", text)
	return nil
}

func (a *app) verifySnapshot(ctx context.Context, e *oci.Entry, m *schema.ModuleVersion) error {
	files, err := e.Snapshot(m.Snapshot.Digest)
	if err != nil {
		return err
	}
	f, err := a.fetcher()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(f.Scratch, "verify-")
	if err != nil {
		return err
	}
	c, err := files.Unpack(ctx, dir)
	if err != nil {
		return err
	}
	if c.Digest != m.Snapshot.Digest {
		return &hinted{fmt.Sprintf("the image's files have the digest %s, not %s", c.Digest, m.Snapshot.Digest), "the image was tampered with, or is damaged"}
	}
	return os.RemoveAll(dir)
}
