"""Problems with a cell of each kind that the recurrence compiler takes, as people write them."""

from references import WIDE, problem

CELLS = {
    "lstm cell": problem(
        "self.cell = nn.LSTMCell(I, H)",
        "x",
        """
        h = c = torch.zeros(x.size(1), H, device=x.device)
        outputs = []
        for t in range(x.size(0)):
            h, c = self.cell(x[t], (h, c))
            outputs.append(h)
        return torch.stack(outputs), (h, c)
        """,
    ),
    "gru cell over the rows of x": problem(
        "self.cell = nn.GRUCell(I, H)",
        "x, h",
        """
        for row in x:
            h = self.cell(row, h)
        return h
        """,
        "[torch.randn(T, B, I), torch.randn(B, H)]",
    ),
    "rnn cell without a batch": problem(
        "self.cell = nn.RNNCell(I, H, nonlinearity='relu')",
        "x, h",
        """
        outputs = []
        for row in x:
            h = self.cell(row, h)
            outputs.append(h)
        return torch.stack(outputs, 1)
        """,
        "[torch.randn(T, I), torch.randn(H)]",
    ),
    "layers in lists": problem(
        "self.cells = nn.ModuleList([nn.RNNCell(H, H) for _ in range(3)])",
        "x",
        """
        rows = [x[t] for t in range(x.size(0))]
        for cell in self.cells:
            h, outputs = torch.zeros(x.size(1), H), []
            for row in rows:
                h = cell(row, h)
                outputs.append(h)
            rows = outputs
        return torch.stack(rows)
        """,
        WIDE,
    ),
    "layers of one stacked weight": problem(
        """
        self.w = nn.Parameter(torch.randn(3, H, H) * 0.3)
        self.u = nn.Parameter(torch.randn(3, H, H) * 0.3)
        self.b = nn.Parameter(torch.randn(3, H))
        """,
        "x, h0",
        """
        for layer in range(3):
            h, outputs = h0[layer], []
            for t in range(x.size(0)):
                h = torch.tanh(x[t] @ self.w[layer] + h @ self.u[layer] + self.b[layer])
                outputs.append(h)
            x = torch.stack(outputs)
        return x
        """,
        "[torch.randn(T, B, H), torch.randn(3, B, H)]",
    ),
    "two directions": problem(
        "self.f = nn.LSTMCell(I, H); self.b = nn.LSTMCell(I, H); self.o = nn.Linear(2 * H, O)",
        "x",
        """
        zero = x.new_zeros(x.size(0), H)
        h, c, ahead, back = zero, zero, [], []
        for t in range(x.size(1)):
            h, c = self.f(x[:, t], (h, c))
            ahead.append(h)
        h = c = zero
        for t in reversed(range(x.size(1))):
            h, c = self.b(x[:, t], (h, c))
            back.insert(0, h)
        return self.o(torch.cat([torch.stack(ahead, 1), torch.stack(back, 1)], -1))
        """,
        "[torch.randn(B, T, I)]",
    ),
    "two directions into halves of a buffer": problem(
        "self.f = nn.GRUCell(I, H); self.b = nn.GRUCell(I, H)",
        "x",
        """
        out = torch.zeros(x.size(0), x.size(1), 2 * H)
        h = torch.zeros(x.size(1), H)
        for t in range(x.size(0)):
            h = self.f(x[t], h)
            out[t, :, :H] = h
        h = torch.zeros(x.size(1), H)
        for t in range(x.size(0) - 1, -1, -1):
            h = self.b(x[t], h)
            out[t, :, H:] = h
        return out
        """,
    ),
    "peepholes and layer norm": problem(
        """
        self.w = nn.Linear(I + H, 4 * H, bias=False)
        self.norm = nn.LayerNorm(4 * H)
        self.cell_norm = nn.LayerNorm(H)
        self.p = nn.Parameter(torch.randn(3, H))
        """,
        "x",
        """
        h = c = torch.zeros(x.size(1), H)
        for t in range(x.size(0)):
            i, f, g, o = self.norm(self.w(torch.cat([x[t], h], -1))).view(-1, 4, H).unbind(1)
            i, f = torch.sigmoid(i + self.p[0] * c), torch.sigmoid(f + self.p[1] * c + 1.0)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + self.p[2] * c) * torch.tanh(self.cell_norm(c))
        return h, c
        """,
    ),
    "lengths as a mask": problem(
        "self.cell = nn.GRUCell(I, H)",
        "x, lengths",
        """
        h, outputs = torch.zeros(x.size(1), H), []
        for t in range(x.size(0)):
            mask = (t < lengths).unsqueeze(1).float()
            h = mask * self.cell(x[t], h) + (1 - mask) * h
            outputs.append(h * mask)
        return torch.stack(outputs), h
        """,
        "[torch.randn(T, B, I), torch.tensor([2, 6, 4])]",
    ),
    "episode resets": problem(
        "self.cell = nn.GRUCell(I, H)",
        "x, done",
        """
        h, outputs = torch.zeros(x.size(1), H), []
        for t in range(x.size(0)):
            h = torch.where(done[t].bool()[:, None], torch.zeros_like(h), h)
            h = self.cell(x[t], h)
            outputs.append(h)
        return torch.stack(outputs)
        """,
        "[torch.randn(T, B, I), (torch.rand(T, B) > 0.5).float()]",
    ),
    "a step that knows its number": problem(
        "self.w = nn.Linear(I, H); self.u = nn.Linear(H, H)",
        "x",
        """
        h = torch.zeros(x.size(1), H)
        for t in range(x.size(0)):
            h = 0.9 * h + 0.1 * torch.tanh(self.w(x[t]) + self.u(h)) * (t + 1)
        return h
        """,
    ),
    "an embedding before, a softmax after": problem(
        "self.e = nn.Embedding(7, I); self.cell = nn.LSTMCell(I, H); self.o = nn.Linear(H, O)",
        "tokens",
        """
        h = c = torch.zeros(tokens.size(1), H)
        outputs = []
        for t in range(tokens.size(0)):
            h, c = self.cell(self.e(tokens[t]), (h, c))
            outputs.append(F.log_softmax(self.o(F.relu(h)), dim=-1).unsqueeze(0))
        return torch.cat(outputs, 0)
        """,
        "[torch.randint(0, 7, (T, B))]",
    ),
    "a decoder that reads its own output": problem(
        "self.cell = nn.GRUCell(O, H); self.o = nn.Linear(H, O)",
        "y, h",
        """
        outputs = []
        for _ in range(7):
            h = self.cell(y, h)
            y = torch.tanh(self.o(h))
            outputs.append(y)
        return torch.stack(outputs, 1)
        """,
        "[torch.randn(B, O), torch.randn(B, H)]",
    ),
    "nn.LSTM one step at a time": problem(
        "self.lstm = nn.LSTM(I, H, 2, batch_first=True)",
        "x",
        """
        state = (torch.zeros(2, x.size(0), H), torch.zeros(2, x.size(0), H))
        outputs = []
        for t in range(x.size(1)):
            y, state = self.lstm(x[:, t : t + 1], state)
            outputs.append(y)
        return torch.cat(outputs, 1), state
        """,
        "[torch.randn(B, T, I)]",
    ),
    "states two and one step back": problem(
        "self.u = nn.Linear(H, H); self.v = nn.Linear(H, H)",
        "x",
        """
        a, b, outputs = torch.zeros(B, H), torch.ones(B, H), []
        for t in range(T):
            a, b = torch.tanh(self.u(a) + self.v(b) + x[t]), a
            outputs.append(a)
        return torch.stack(outputs), b
        """,
        WIDE,
    ),
    "the input one step back": problem(
        "self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        "x",
        """
        h, previous, outputs = torch.zeros(B, H), torch.zeros(B, I), []
        for t in range(T):
            mixed, previous = 0.5 * x[t] + 0.5 * previous, x[t]
            h = torch.tanh(self.u(h) + self.v(mixed))
            outputs.append(h)
        return torch.stack(outputs)
        """,
    ),
    "a learned first state, kept in the output": problem(
        "self.h0 = nn.Parameter(torch.randn(1, H)); self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        "x",
        """
        h = self.h0.expand(x.size(1), -1)
        outputs = [h]
        for t in range(T):
            h = torch.tanh(self.u(h) + self.v(x[t]))
            outputs.append(h)
        return torch.stack(outputs)
        """,
    ),
    "a learned row for each step": problem(
        "self.p = nn.Parameter(torch.randn(T, H)); self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        "x",
        """
        h, outputs = torch.zeros(x.size(1), H), []
        for t in range(T):
            h = torch.tanh(self.u(h) + self.v(x[t]) + self.p[t])
            outputs.append(h)
        return torch.stack(outputs)
        """,
    ),
    "states stacked at every step": problem(
        "self.a = nn.GRUCell(H, H); self.b = nn.GRUCell(H, H)",
        "x, states",
        """
        outputs = []
        for t in range(T):
            low = self.a(x[t], states[0])
            states = torch.stack([low, self.b(low, states[1])])
            outputs.append(states[-1])
        return torch.stack(outputs), states
        """,
        "[torch.randn(T, B, H), torch.randn(2, B, H)]",
    ),
    "a state of three dimensions": problem(
        "self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        "x",
        """
        h, outputs = torch.zeros(1, B, H), []
        for t in range(T):
            h = torch.tanh(self.u(h) + self.v(x[t : t + 1]))
            outputs.append(h.squeeze(0))
        return torch.stack(outputs), h
        """,
    ),
    "a scalar state beside a vector": problem(
        "self.u = nn.Linear(H, H)",
        "x",
        """
        h, n = torch.zeros(B, H), torch.zeros(B)
        for t in range(T):
            h = torch.tanh(self.u(h) + x[t] * n.unsqueeze(1))
            n = n * 0.5 + h[:, 0]
        return h, n
        """,
        WIDE,
    ),
    "no product in the step, from the second time on": problem(
        "self.g = nn.Linear(I, 2 * H)",
        "x",
        """
        z, v = self.g(x).chunk(2, -1)
        z, h = torch.sigmoid(z), v[:, 0]
        outputs = [h]
        for t in range(1, x.size(1)):
            h = (1 - z[:, t]) * h + z[:, t] * v[:, t]
            outputs.append(h)
        return torch.stack(outputs, 1)
        """,
        "[torch.randn(B, T, I)]",
    ),
    "two matrices in a row": problem(
        "self.a = nn.Linear(H, 2, bias=False); self.b = nn.Linear(2, H, bias=False)",
        "x",
        """
        h = torch.zeros(B, H)
        for t in range(T):
            h = torch.tanh(self.b(self.a(h)) + x[t])
        return h
        """,
        WIDE,
    ),
    "a softmax fed back": problem(
        "self.cell = nn.GRUCell(O, H); self.o = nn.Linear(H, O)",
        "y, h",
        """
        outputs = []
        for _ in range(T):
            h = self.cell(y, h)
            y = F.softmax(self.o(h), -1)
            outputs.append(y)
        return torch.stack(outputs, 1)
        """,
        "[torch.rand(B, O), torch.randn(B, H)]",
    ),
    "outputs in a cat that grows": problem(
        "self.u = nn.Linear(H, H)",
        "x",
        """
        h, out = torch.zeros(B, H), torch.empty(0, B, H)
        for t in range(T):
            h = torch.tanh(self.u(h) + x[t])
            out = torch.cat([out, h[None]])
        return out
        """,
        WIDE,
    ),
    "a buffer complete before the last step is": problem(
        "self.u = nn.Linear(H, H); self.k = nn.Parameter(torch.rand(H))",
        "x",
        """
        a = n = torch.zeros(B, H)
        out = torch.zeros(B, T, H)
        for t in range(T):
            out[:, t] = (a + x[t]) / (n + 1)
            a = torch.tanh(self.u(a) * self.k + x[t] * n)
            n = n * self.k + torch.exp(x[t])
        return out
        """,
        WIDE,
    ),
    "rows of two dimensions": problem(
        "self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        "x",
        """
        h = torch.zeros(2, B, H)
        for t in range(T):
            h = torch.tanh(self.u(h) + self.v(x[t]))
        return h
        """,
        "[torch.randn(T, 2, B, I)]",
    ),
    "a matrix for each row of the batch": problem(
        "self.qkv = nn.Linear(I, 3 * H); self.beta = nn.Linear(I, 1)",
        "x",
        """
        q, k, v = self.qkv(x).chunk(3, -1)
        k, beta = F.normalize(k, dim=-1), torch.sigmoid(self.beta(x))
        s, outputs = torch.zeros(B, H, H), []
        for t in range(T):
            error = beta[t] * (v[t] - torch.einsum('bvk,bk->bv', s, k[t]))
            s = s + torch.einsum('bv,bk->bvk', error, k[t])
            outputs.append(torch.bmm(s, q[t].unsqueeze(2)).squeeze(2))
        return torch.stack(outputs), s
        """,
    ),
    "a few states for each channel": problem(
        """
        self.a, self.d = nn.Parameter(torch.rand(H, 4)), nn.Parameter(torch.rand(H))
        self.p = nn.Linear(H, 8)
        """,
        "x",
        """
        b, c = self.p(x).chunk(2, -1)
        s, outputs = torch.zeros(B, H, 4), []
        for t in range(x.size(1)):
            step = F.softplus(x[:, t])[:, :, None]
            s = torch.exp(-step * self.a) * s + step * b[:, t, None, :]
            outputs.append((s * c[:, t, None]).sum(-1) + self.d * x[:, t])
        return torch.stack(outputs, 1)
        """,
        "[torch.randn(B, T, H)]",
    ),
    "layers without a product in their cycles": problem(
        "self.w = nn.ModuleList([nn.Linear(H, H), nn.Linear(H, H)]); self.u = nn.Parameter(torch.rand(2, H))",
        "x",
        """
        hs, outputs = [torch.zeros(B, H)] * 2, []
        for t in range(T):
            y = x[t]
            for i in range(2):
                y = torch.relu(self.w[i](y) + self.u[i] * hs[i])
                hs[i] = y
            outputs.append(y - hs[0])
        return torch.stack(outputs)
        """,
        WIDE,
    ),
    "tokens, a mask, and weights of half precision": problem(
        """
        self.e = nn.Embedding(7, I, dtype=torch.bfloat16)
        self.cell = nn.GRUCell(I, H, dtype=torch.bfloat16)
        """,
        "tokens, mask, h",
        """
        outputs = []
        for t in range(tokens.size(0)):
            h = torch.where(mask[t, :, None], self.cell(self.e(tokens[t]), h), h)
            outputs.append(h)
        return torch.stack(outputs)
        """,
        "[torch.randint(0, 7, (T, B)), torch.rand(T, B) > 0.3, torch.randn(B, H).bfloat16()]",
    ),
    "nobody's cell, backwards": problem(
        """
        self.a, self.b = nn.Linear(H, 2 * H), nn.Linear(I, H, bias=False)
        self.k = nn.Parameter(torch.rand(H))
        """,
        "x, s",
        """
        h, m, total, outputs = s[:, :H], s[:, H:], torch.zeros(B, 1), []
        for t in range(T - 1, -1, -1):
            u, v = self.a(h * torch.exp(-m * m)).chunk(2, -1)
            m = torch.where(u > v, 0.5 * m + torch.sin(u), torch.clamp(v, -1, 1))
            h = torch.lerp(h, torch.tanh(self.b(x[t]) + v), torch.sigmoid(self.k))
            total = total + h.mean(1, keepdim=True)
            outputs.append(h * total)
        return torch.stack(outputs), m, total
        """,
        "[torch.randn(T, B, I), torch.randn(B, 2 * H)]",
    ),
}
