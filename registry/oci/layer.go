package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"

	"github.com/modyard/modyard/schema"
)

// Compression of layers. The bytes depend on these, on the compressor's
// version, which go.mod pins, and on nothing of the machine.
const (
	compressionLevel = 3
	compressionBlock = 1 << 20
)

// layer is a layer whose compressed bytes are in a file.
type layer struct {
	file   string
	diffID schema.Digest
	digest v1.Hash
	size   int64
}

// pack compresses what write writes into a file, once.
func pack(ctx context.Context, scratch string, write func(ctx context.Context, w io.Writer) error) (*layer, error) {
	f, err := os.CreateTemp(scratch, "layer-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a layer: %w", err)
	}
	plain := sha256.New()
	packed := &summed{w: f, h: sha256.New()}
	z, err := pgzip.NewWriterLevel(packed, compressionLevel)
	if err == nil {
		err = z.SetConcurrency(compressionBlock, 4)
	}
	if err == nil {
		err = write(ctx, io.MultiWriter(z, plain))
	}
	err = errors.Join(err, z.Close(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return nil, fmt.Errorf("cannot make a layer: %w", err)
	}
	return &layer{
		file: f.Name(), diffID: schema.DigestSum(plain.Sum(nil)), size: packed.n,
		digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(packed.h.Sum(nil))},
	}, nil
}

type summed struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return hashOf(l.diffID), nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return gunzip(l.Compressed()) }

func hashOf(d schema.Digest) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Hex()} }

func digestOf(h v1.Hash) schema.Digest { return schema.Digest(h.String()) }

func gunzip(rc io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(rc)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return &unzipped{z, rc}, nil
}

type unzipped struct {
	*gzip.Reader
	rc io.Closer
}

func (u *unzipped) Close() error { return errors.Join(u.Reader.Close(), u.rc.Close()) }
