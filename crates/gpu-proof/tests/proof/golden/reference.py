"""A second implementation of the proof's arithmetic, written from the module documentation alone.

Prints the seed, the roots and the parameter hash of the golden session; they must equal tiny.txt beside it.
Needs the Python packages blake3 and numpy. Not run by the tests: run it when the golden file changes.
"""
import blake3, struct, numpy as np
def dk(ctx,parts,n=32):
    return blake3.blake3(b"".join(struct.pack("<Q",len(p))+p for p in parts),derive_key_context=ctx).digest(n)
M=0xffffffff; M64=(1<<64)-1
def rotl(x,r): return ((x<<r)|(x>>(32-r)))&M
def chacha_block(s):
    x=list(s)
    def qr(a,b,c,d):
        x[a]=(x[a]+x[b])&M; x[d]=rotl(x[d]^x[a],16); x[c]=(x[c]+x[d])&M; x[b]=rotl(x[b]^x[c],12)
        x[a]=(x[a]+x[b])&M; x[d]=rotl(x[d]^x[a],8); x[c]=(x[c]+x[d])&M; x[b]=rotl(x[b]^x[c],7)
    for _ in range(4):
        for t in ((0,4,8,12),(1,5,9,13),(2,6,10,14),(3,7,11,15),(0,5,10,15),(1,6,11,12),(2,7,8,13),(3,4,9,14)): qr(*t)
    return [(p+q)&M for p,q in zip(x,s)]
C=list(struct.unpack("<4I",b"expand 32-byte k"))
rows,k,n,h,walkers,ivs,steps,qr_,qw=256,128,256,4,64,8,64,64,40
ph=dk("gpu-proof v1 params",[struct.pack("<Q",v) for v in (rows,k,n,h,walkers,ivs,steps,qr_,qw)])
beacon=b"\x01"*32; cid=struct.pack("<Q",31337)
seed=dk("gpu-proof v1 session",[ph,beacon,b"\x02"*32,cid,b"\x03"*32,b"\x04"*20,b"\x05"*33,b"GPU-00000000-0000-0000-0000-000000000001"])
key=list(struct.unpack("<8I",dk("gpu-proof v1 D",[seed])))
def line(i):
    x=C+key+[i&M,i>>32,0,0]
    for _ in range(h): x=chacha_block(x)
    return x
lines=rows*k//64; D=[line(i) for i in range(lines)]
def kh(d): return blake3.blake3(d,key=seed).digest()
def root(l):
    while len(l)>1: l=[kh(b"\x01"+l[i]+l[i+1]) for i in range(0,len(l),2)]
    return l[0]
PHI=0x9e3779b97f4a7c15
def rl(x,r): return ((x<<r)|(x>>(64-r)))&M64
leaves=[]
for w in range(walkers):
    a,b=struct.unpack("<2Q",dk("gpu-proof v1 walk",[seed,struct.pack("<Q",w)])[:16]); out=b""; g=0
    for _ in range(ivs):
        for _ in range(steps):
            a=(a+((w<<32|g)*PHI))&M64; g+=1; l=D[(a*lines)>>64]
            for j in range(8):
                v=l[2*j]|l[2*j+1]<<32; a=rl(((a^v)*PHI)&M64,29); b=((b+a)&M64)^rl(v,17)
            a^=rl(b,32)
        out+=struct.pack("<2Q",a,b)
    leaves.append(kh(out))
wr=root(leaves); pad=np.frombuffer(dk("gpu-proof v1 pad",[seed,wr],64),np.uint8)
bk=list(struct.unpack("<8I",dk("gpu-proof v1 B",[ph,cid,beacon])))
def col(j):
    o=b""
    for c in range(k//64): o+=struct.pack("<16I",*chacha_block(C+bk+[c,0,j&M,j>>32]))
    return np.frombuffer(o,np.int8)
Bt=np.stack([col(j) for j in range(n)]).astype(np.int64)
A=np.stack([np.frombuffer(b"".join(struct.pack("<16I",*D[i*(k//64)+t]) for t in range(k//64)),np.uint8)^np.tile(pad,k//64) for i in range(rows)]).view(np.int8).astype(np.int64)
Cm=(A@Bt.T).astype("<i4")
print("session seed  ",seed.hex()); print("walk root     ",wr.hex()); print("gemm root     ",root([kh(r.tobytes()) for r in Cm]).hex()); print("params",ph.hex())
