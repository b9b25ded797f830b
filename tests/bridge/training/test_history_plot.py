"""``History.plot`` puts every number at its epoch, also where some epochs have none."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import bridge


def test_losses_and_metrics_at_their_epochs(keras):
    mpl.use("Agg")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 2)), random.normal(size=40)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    history = bridge.fit(
        model,
        *(x, y),
        validation_data=(x[:9], y[:9]),
        validation_freq=2,
        metrics_every=3,
        initial_epoch=4,
        epochs=10,
        batch_size=20,  # which goes on where steps on all rows would have converged
        verbose=0,
    )
    count = len(history.epoch)
    assert history.epochs_of("loss") == history.epoch == list(range(4, 4 + count))
    assert history.epochs_of("val_loss") == history.epoch[1::2]
    for name, every in (("mae", 3), ("val_mae", 6)):
        due = [epoch for epoch in history.epoch if (epoch + 1) % every == 0]
        assert history.epochs_of(name) == due
    panels = history.plot(axes=Figure(layout="constrained").subplots(1, 2))
    assert [panel.get_ylabel() for panel in panels] == ["loss", "mae"]
    panels[0].figure.savefig(io.BytesIO())
    loss, val_loss, kept = panels[0].lines
    assert list(loss.get_xdata()) == [4, *(epoch + 1 for epoch in history.epoch)]
    assert list(loss.get_ydata()) == [history.start["loss"], *history.history["loss"]]
    assert list(val_loss.get_xdata()) == [
        4,
        *(epoch + 1 for epoch in history.epochs_of("val_loss")),
    ]
    assert kept.get_xdata()[0] == history.best_epoch + 1
