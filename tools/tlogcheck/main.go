// Checks an export of `enlace ledger export --tiles` with the implementation of transparency logs that the Go project
// uses for its checksum database, which shares no code with Enlace. It needs no network and no Enlace.
//
//	apt-get install golang-go golang-golang-x-mod-dev
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o tlogcheck main.go
//	./tlogcheck FOLDER LOG-KEY [WITNESS-KEY...]
//
// Keys are verifier keys as in https://c2sp.org/signed-note: name+hash+base64. A log's is of type 1, a witness's of type 4.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

// tiles reads tiles of height 8 from where C2SP tlog-tiles has them: without the height in the path.
type tiles string

func (folder tiles) Height() int { return 8 }

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := folder.read(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) read(path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(folder), path))
}

// entries returns the lines of one entry bundle: each after its length, in two bytes.
func (folder tiles) entries(number int64, count int) [][]byte {
	tile := tlog.Tile{H: 8, L: 0, N: number, W: count}
	data, err := folder.read(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1))
	require(err)
	var found [][]byte
	for len(data) > 0 {
		length := int(binary.BigEndian.Uint16(data))
		found = append(found, data[2:2+length])
		data = data[2+length:]
	}
	return found
}

// cosigner verifies https://c2sp.org/tlog-cosignature, which the library does not know.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	fmt.Printf("cosigned by %s at %s\n", c.name, time.Unix(int64(at), 0).UTC().Format(time.RFC3339))
	return ed25519.Verify(c.key, []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)), signature[8:])
}

func parseCosigner(text string) cosigner {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		fail("a verifier key is name+hash+key")
	}
	hash, err := hex.DecodeString(parts[1])
	require(err)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	require(err)
	if len(hash) != 4 || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		fail("not a witness's verifier key, of type 4: " + text)
	}
	return cosigner{parts[0], binary.BigEndian.Uint32(hash), key[1:]}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "FAILED:", text)
	os.Exit(1)
}

func require(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func main() {
	if len(os.Args) < 3 {
		fail("usage: tlogcheck FOLDER LOG-KEY [WITNESS-KEY...]")
	}
	folder := tiles(os.Args[1])
	log, err := note.NewVerifier(os.Args[2])
	require(err)
	known := []note.Verifier{log}
	for _, text := range os.Args[3:] {
		known = append(known, parseCosigner(text))
	}
	data, err := folder.read("checkpoint")
	require(err)
	opened, err := note.Open(data, note.VerifierList(known...))
	require(err)
	signed := false
	for _, signature := range opened.Sigs {
		signed = signed || signature.Name == log.Name()
	}
	lines := strings.Split(opened.Text, "\n")
	if !signed || lines[0] != log.Name() {
		fail("the checkpoint is not signed by " + log.Name())
	}
	var size int64
	_, err = fmt.Sscan(lines[1], &size)
	require(err)
	root, err := tlog.ParseHash(lines[2])
	require(err)
	fmt.Printf("%s, %d lines, %d signatures hold, %d are by keys not given\n",
		lines[0], size, len(opened.Sigs), len(opened.UnverifiedSigs))

	// Each tile that is read is verified up to the root; then each line must hash to what its tile says.
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, folder)
	for at := int64(0); at < size; {
		count := min(width, size-at)
		var places []int64
		var computed []tlog.Hash
		for _, line := range folder.entries(at/width, int(count)) {
			places = append(places, tlog.StoredHashIndex(0, at+int64(len(places))))
			computed = append(computed, tlog.RecordHash(line))
		}
		if int64(len(places)) != count {
			fail(fmt.Sprintf("lines %d to %d are not all there", at, at+count-1))
		}
		proved, err := hashes.ReadHashes(places)
		require(err)
		for i := range proved {
			if !bytes.Equal(proved[i][:], computed[i][:]) {
				fail(fmt.Sprintf("line %d is not the one in the tree", at+int64(i)))
			}
		}
		at += count
	}
	for _, index := range []int64{0, size / 2, size - 1} {
		proof, err := tlog.ProveRecord(size, index, hashes)
		require(err)
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		require(err)
		require(tlog.CheckRecord(proof, size, root, index, leaf[0]))
	}
	if old := size / 2; old > 0 {
		before, err := tlog.TreeHash(old, hashes)
		require(err)
		proof, err := tlog.ProveTree(size, old, hashes)
		require(err)
		require(tlog.CheckTree(proof, size, root, old, before))
	}
	fmt.Println("every line is in the tree that the checkpoint signs")
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
