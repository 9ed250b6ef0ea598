package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
)

// WriteLayout adds an image to the OCI layout in a folder, which is made when
// it is not there. The image is named MODULE-VERSION in it.
func (i *Image) WriteLayout(dir string) (name string, err error) {
	p, err := layout.FromPath(dir)
	if os.IsNotExist(err) {
		p, err = layout.Write(dir, empty.Index)
	}
	if err != nil {
		return "", fmt.Errorf("cannot open the layout %s: %w", dir, err)
	}
	module, version := i.name()
	name = module + "-" + version
	options := []layout.Option{layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name})}
	which := match.Name(name)
	if i.index != nil {
		err = p.ReplaceIndex(i.index, which, options...)
	} else {
		err = p.ReplaceImage(i.image, which, options...)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write %s into the layout %s: %w", name, dir, err)
	}
	return name, nil
}

// Keep brings an image by its digest, all its platforms, into a folder of its
// own below dir, as an OCI layout, whole or not at all. It reports whether it
// was there. Every byte is held against its digest.
func (c *Client) Keep(ctx context.Context, ref, dir string) (at string, had bool, err error) {
	e, err := c.Lookup(ctx, ref)
	if err != nil {
		return "", false, err
	}
	if e == nil {
		return "", false, &ProblemError{Message: ref + " is not there"}
	}
	at = filepath.Join(dir, e.Digest.Hex())
	if _, err := os.Stat(at); err == nil {
		return at, true, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(tmp)
	p, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return "", false, err
	}
	if e.desc.MediaType.IsIndex() {
		idx, ierr := e.desc.ImageIndex()
		if err = ierr; err == nil {
			err = p.AppendIndex(idx)
		}
	} else {
		img, ierr := e.desc.Image()
		if err = ierr; err == nil {
			err = p.AppendImage(img)
		}
	}
	if err != nil {
		return "", false, fmt.Errorf("cannot bring the image %s: %w", ref, err)
	}
	if err := os.Rename(tmp, at); err != nil && !exists(at) { // another one may have been faster
		return "", false, err
	}
	return at, false, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

var _ v1.Layer = (*layer)(nil)
